"""The doors: whatever is not ours (programs, libraries, the kernel, others' formats) is spoken to here.

What comes in and goes out are plain values and paths; nothing here knows stages, images or configurations.
Linters keep each thing behind its one door.

- programs: command (run; with programs and process), ending, namespace, load
- temporary things: temporary (with own_place, removal and gpg_agents), loop
- OSTree: ostree/; what a tree calls itself: os_release; what it was built for: isa
- QEMU: qemu/, accelerator, registers, screen, picture, console
- guests: ssh, vagrant_key, web (servers for them), oci and rpm (small things for them to install)
- media: iso and iso_writer, squashfs, initramfs, anaconda_log, menus/ (what their boot menus mean)
- disks: guestfs
- trust: gpg, checksum, access
"""
