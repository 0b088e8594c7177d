"""What a serialised commit says of itself: its version, parent, and the refs and collection it is bound to.

Hosts refuse a commit under a ref that it is not bound to (ostree-repo.c, 2022.7:
_ostree_repo_verify_bindings); `ostree commit` binds each one (ot-builtin-commit.c: fill_bindings),
libostree's own API none.
"""

import sys
from dataclasses import dataclass

from imagebuild.errors import BuildError
from imagebuild.tools.ostree.library import GLib
from imagebuild.tools.ostree.server import COMMIT, FORMATS

# ostree-core.h: OSTREE_COMMIT_META_KEY_REF_BINDING (as), OSTREE_COMMIT_META_KEY_COLLECTION_BINDING (s)
REFS, COLLECTION = "ostree.ref-binding", "ostree.collection-binding"


@dataclass(frozen=True, kw_only=True)
class Binding:
    """The refs under which a commit may be pulled (None: all, nothing binds it) and the collection of the
    repositories (empty: none).
    """

    refs: tuple[str, ...] | None
    collection: str

    def reason_to_refuse(self, ref: str, *, collection: str = "") -> str | None:
        """Return why hosts would not take the commit under a ref; None when they do.

        `collection` is the collection id of the repository they pull from: with one, both bindings must be
        there, and right.
        """
        if self.refs is None and not collection:
            return None
        if self.refs is None:
            return f"is bound to no ref, which a repository with the collection id {collection} asks for"
        if ref not in self.refs:
            return f"is bound to {', '.join(self.refs) or 'no ref at all'} (metadata {REFS}), not to {ref}"
        if collection and self.collection != collection:
            return (
                f"is bound to {self.collection or 'no collection'} (metadata {COLLECTION}), not to the"
                f" repository's collection id {collection}"
            )
        return None


def binding_of(commit: bytes) -> Binding:
    """Read the bindings of a serialised commit object. Raises BuildError when it is not one."""
    metadata = _commit(commit).get_child_value(0)
    refs = metadata.lookup_value(REFS, GLib.VariantType("as"))
    collection = metadata.lookup_value(COLLECTION, GLib.VariantType("s"))
    return Binding(
        refs=tuple(refs.unpack()) if refs is not None else None,
        collection=collection.get_string() if collection is not None else "",
    )


def parent_of(commit: bytes) -> str | None:
    """Return the parent of a serialised commit object; None when it has none. Raises BuildError when it is
    not a commit.
    """
    return bytes(_commit(commit).get_child_value(1).unpack()).hex() or None


def commit_version(commit: bytes) -> str:
    """Return the version in a serialised commit object; empty when it is not one, or has none."""
    variant = _variant(commit)
    if not variant.is_normal_form():
        return ""
    version = variant.get_child_value(0).lookup_value("version", GLib.VariantType("s"))
    return str(version.get_string()) if version is not None else ""


def commit_timestamp(commit: bytes) -> int:
    """Return when a serialised commit object was made, in seconds since 1970. Raises BuildError when it is
    not one.
    """
    # ostree-core.h, OSTREE_COMMIT_GVARIANT_FORMAT: the sixth, big endian whatever the machine
    stored = _commit(commit).get_child_value(5).get_uint64()
    return int.from_bytes(int(stored).to_bytes(8, sys.byteorder), "big")


def _variant(data: bytes) -> GLib.Variant:
    return GLib.Variant.new_from_bytes(GLib.VariantType.new(FORMATS[COMMIT]), GLib.Bytes.new(data), False)


def _commit(data: bytes) -> GLib.Variant:
    variant = _variant(data)
    if not variant.is_normal_form():
        raise BuildError(
            "that is not a commit object of OSTree", hint="the repository must be repaired (ostree fsck)"
        )
    return variant
