"""ppc64le: what Fedora called its releases for it (Fedora 26 … 29); nothing of it is built here: its firmware
is Open Firmware, which starts GRUB from a PReP partition.
"""

from imagebuild.architectures.architecture import Architecture

PPC64LE = Architecture(
    name="ppc64le",
    debian="ppc64el",
    multiarch="powerpc64le-linux-gnu",
    oci="ppc64le",
    elf_machine=21,
    lorax_template="ppc64le.tmpl",
    qemu_command="qemu-system-ppc64 -accel kvm -m 2048",
)
