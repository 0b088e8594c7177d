"""What a tree's prepare-root.conf asks of the root file system that its hosts boot from.

Keys, values and their meanings: ostree-prepare-root(1), "Configuration"; ostree 2026.4,
src/libotcore/otcore-prepare-root.c (otcore_load_rootfs_config, otcore_mount_etc), and ot-keyfile-utils.c for
what is read as true.
"""

import configparser
from collections.abc import Callable
from dataclasses import dataclass

# where ostree-prepare-root, and the dracut module that copies it into the initramfs, look for it in a running
# host's / (for /etc: in a commit). The last that there is counts alone: each is loaded over the one before
# (otcore_load_config; g_key_file_load_from_data begins with an empty file)
PREPARE_ROOT = "usr/lib/ostree/prepare-root.conf"
PLACES = (PREPARE_ROOT, "usr/etc/ostree/prepare-root.conf")
# a tristate is true as `yes`, `true` or `1`, a boolean as `true` or `1` (g_key_file_get_boolean)
ASKED = frozenset({"yes", "true", "1", "verity", "signed"})
MAYBE = "maybe"
CHECKED = frozenset({"verity", "signed"})
TRUE = frozenset({"true", "1"})


@dataclass(frozen=True, kw_only=True)
class AskedOfRoot:
    """What a tree asks for. `composefs`: what `enabled` says, in small letters (MAYBE: no more than to try);
    None: nothing. `transient_etc`: /etc begins as the tree's at every boot.
    """

    composefs: str | None = None
    transient_etc: bool = False

    @property
    def verity(self) -> bool:
        """Whether the content of every file is checked when it is read, by fs-verity."""
        return self.composefs in CHECKED


NOTHING = AskedOfRoot()


def counting(read: Callable[[str], bytes | None]) -> tuple[str, str]:
    """Return the path and the text of the file of a commit that counts, by what `read`s a path of it; an
    empty text when there is none.
    """
    for path in reversed(PLACES):
        data = read(path)
        if data is not None:
            return path, data.decode("utf-8", "replace")
    return PREPARE_ROOT, ""


def parse(text: str) -> AskedOfRoot:
    """Return what the text of such a file asks for. Raises ValueError for anything else."""
    parsed = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parsed.read_string(text)
    except configparser.Error as error:
        raise ValueError(error.message) from error
    enabled = parsed.get("composefs", "enabled", fallback="").strip().lower()
    transient = parsed.get("etc", "transient", fallback="").strip().lower()
    return AskedOfRoot(
        composefs=enabled if enabled in (*ASKED, MAYBE) else None, transient_etc=transient in TRUE
    )
