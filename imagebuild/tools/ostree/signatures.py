"""Signatures over commits and summaries: made by GnuPG keys, read from detached metadata."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools import gpg, temporary
from imagebuild.tools.ostree.library import Gio, GLib
from imagebuild.tools.ostree.object_store import ObjectStore


def sign_commit(store: ObjectStore, commit: str, key_id: str, homedir: Path) -> bool:
    """Sign a commit with a GPG key, unless it is signed by it; return whether it was signed now.

    libostree's own check needs the key in the user's keyring, and else adds one more signature each time
    (measured with 2022.7).
    """
    detached = store.detached_metadata(commit)
    file = store.path / "objects" / commit[:2] / f"{commit[2:]}.commit"
    if detached is not None and is_signed(file, signatures(detached), key_id, homedir):
        return False
    try:
        with store.writing():
            store.handle.sign_commit(commit, key_id, str(homedir), None)
    except GLib.Error as error:
        if not error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.EXISTS):
            raise BuildError(
                f"commit {commit} cannot be signed with key {key_id}: {error.message}"
            ) from error
        return False
    return True


def is_signed(file: Path, detached: Sequence[bytes], key: str, homedir: Path | None) -> bool:
    """Return whether one of the signatures is a key's over this file: a summary, or a commit object."""
    with temporary.directory("signature") as work:
        blob, public = work / "signature", work / "key.asc"
        gpg.export_key(homedir, key, public)
        for data in detached:
            blob.write_bytes(data)
            with contextlib.suppress(gpg.SignatureError):
                gpg.check_detached(file, blob, [public], what=str(file))
                return True
    return False


def signatures(detached: bytes) -> list[bytes]:
    """Return the OpenPGP signatures in a commit's detached metadata (ostree-core.h: `ostree.gpgsigs`, aay in
    a{sv}).
    """
    variant = GLib.Variant.new_from_bytes(GLib.VariantType("a{sv}"), GLib.Bytes.new(detached), False)
    packets = (
        variant.lookup_value("ostree.gpgsigs", GLib.VariantType("aay")) if variant.is_normal_form() else None
    )
    return [bytes(packet) for packet in packets.unpack()] if packets is not None else []
