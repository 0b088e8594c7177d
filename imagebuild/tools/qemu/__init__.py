"""The only door to QEMU: machines that are booted, and disk images of its formats.

What comes in: a `machine.Machine` (a frozen description) and an accelerator; what goes out: a running one
(`running.started`), whose console, screen and monitor are at hand until the block ends.

- machine: what is described; command_line: QEMU's argv of it (golden files hold it)
- firmware, controller, drive: the kinds of these, a record each; registry: all of them by name
- running: a machine from start to end; monitor: QMP
- build: which QEMU exactly, for what it has saved
- disk_image: qemu-img; export: an image of any format shown as a raw file (FUSE)

To add a firmware, a controller or a kind of drive: its record, and a line in registry.
"""
