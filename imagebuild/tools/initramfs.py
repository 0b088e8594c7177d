"""An initramfs that leaves a mark which the running host shows: another one with a second archive behind it.

The kernel unpacks archives one after the other; one that is not compressed begins at a multiple of four
bytes, and zeros before it are skipped (Linux, init/initramfs.c, unpack_to_rootfs;
Documentation/driver-api/early-userspace/buffer-format.rst). Ours has one member: a hook that dracut sources
at its start (dracut 044 and 059, modules.d/98dracut-systemd/dracut-cmdline.sh, `source_hook cmdline`; without
systemd modules.d/99base/init.sh), when /run is mounted, which goes over to the host. There is no member for a
directory: dracut's own are there already, and one that is a link (/lib) would be replaced by a directory
(init/initramfs.c, clean_path).
"""

import stat

# where a running host shows the mark
MARK = "/run/imagebuild-initramfs"
# in newer dracuts a link leads from here to /var/lib/dracut/hooks
HOOK = "lib/dracut/hooks/cmdline/01-imagebuild.sh"
ALIGNMENT = 4
TRAILER = "TRAILER!!!"


def marked(initramfs: bytes, mark: str) -> bytes:
    """Return an initramfs (by dracut) that does what it did and writes `mark`, a word, into MARK."""
    hook = f"echo {mark} > {MARK}\n".encode()
    # at least one whole word of zeros: it ends the blocks of an lz4 stream (lib/decompress_unlz4.c)
    padding = b"\0" * (ALIGNMENT + -len(initramfs) % ALIGNMENT)
    return initramfs + padding + _member(HOOK, stat.S_IFREG | 0o644, hook) + _member(TRAILER, 0, b"")


def _member(path: str, mode: int, data: bytes) -> bytes:
    """Return one member of a newc archive: thirteen numbers of eight hexadecimal digits, name, data, each
    padded.
    """
    name = path.encode() + b"\0"
    numbers = (1 if data else 0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % each for each in numbers) + name
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % ALIGNMENT)
