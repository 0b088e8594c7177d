"""What an error of a pull means: the network, a signature, a damaged object, a missing commit."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

from imagebuild.errors import BuildError
from imagebuild.tools.access import Access
from imagebuild.tools.ostree.library import Gio
from imagebuild.tools.ostree.server import TransferError

NETWORK = (
    Gio.IOErrorEnum.TIMED_OUT,
    Gio.IOErrorEnum.HOST_NOT_FOUND,
    Gio.IOErrorEnum.CONNECTION_REFUSED,
    Gio.IOErrorEnum.HOST_UNREACHABLE,
    Gio.IOErrorEnum.NETWORK_UNREACHABLE,
    Gio.IOErrorEnum.PARTIAL_INPUT,
    Gio.IOErrorEnum.CONNECTION_CLOSED,
    Gio.IOErrorEnum.BUSY,
)


# ostree-gpg-verifier.c, 2022.7: _ostree_gpg_verifier_check_signature makes a GnuPG home with the keys in it
KEYRING = 1 << 20


def pull_error(error: Any, url: str, access: Access, commit: str) -> BuildError:
    """Say what a failed pull means: the network (try again), a signature, a damaged object, or a commit that
    is not there.
    """
    text = error.message
    if "GPG" in text or "signature" in text.lower():
        return signature_error(error, commit)
    if (
        "orrupt" in text
        or "hecksum" in text
        or error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.INVALID_DATA)
    ):
        return BuildError(
            f"damaged content from {url}: {text}",
            hint="the object named above must be repaired on the server (ostree fsck)",
        )
    if any(error.matches(Gio.io_error_quark(), code) for code in NETWORK) or re.search(
        r"HTTP 5\d\d|While fetching .*\[\d+\]", text
    ):
        advice = access.blame(url, text) or "check the network and tree.url"
        return TransferError(f"cannot fetch from {url}: {text}", hint=advice)
    return BuildError(
        f"commit {commit} cannot be pulled from {url}: {text}",
        hint="if an object is missing there, the server's repository is not whole (ostree fsck)",
    )


def signature_error(error: Any, commit: str) -> BuildError:
    """Say what a missing or unknown signature means, and what to do."""
    if (full := no_room()) is not None:
        return full
    return BuildError(
        f"commit {commit} is not signed by a key of tree.gpg_keys: {error.message}",
        hint=(
            "sign it (ostree gpg-sign), correct tree.gpg_keys, or set tree.allow_unsigned: true by hand to go"
            " without"
        ),
    )


def no_room() -> BuildError | None:
    """Return the error of a full TMPDIR, of which GPGME says "No data"; None when it has room."""
    place = Path(os.environ.get("TMPDIR") or "/tmp")  # as GLib chooses it (g_get_tmp_dir)
    if not place.is_dir() or shutil.disk_usage(place).free >= KEYRING:
        return None
    return BuildError(
        f"{place} is full, where libostree makes a keyring to check signatures",
        hint=f"free {KEYRING >> 20} MiB there, or set TMPDIR to a directory with more",
    )
