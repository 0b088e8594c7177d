"""A commit in the layout of rpm-ostree before 2017.9, made by hand of one in today's."""

import hashlib

from gi.repository import OSTree

from imagebuild.tools.ostree.kernel import boot_files
from imagebuild.tools.ostree.repository import Repo

PLACES = ("usr/lib/ostree-boot", "boot")


def in_old_layout(repo: Repo, commit: str, ref: str) -> str:
    """Commit to `ref`, unsigned, and return, a tree whose initramfs is in /usr/lib/ostree-boot and /boot
    only, named by checksum.
    """
    found, handle = boot_files(repo, commit), repo.handle
    assert found.initramfs is not None
    contents = [repo.read(commit, str(path)) or b"" for path in (found.kernel, found.initramfs)]
    checksum = hashlib.sha256(b"".join(contents)).hexdigest()
    names = {
        f"vmlinuz-{found.version}-{checksum}": found.kernel,
        f"initramfs-{found.version}.img-{checksum}": found.initramfs,
    }
    with repo.transaction():
        tree = OSTree.MutableTree.new_from_commit(handle, commit)
        _below(tree, str(found.initramfs.parent)).remove(found.initramfs.name, False)
        for place in PLACES:
            directory = _below(tree, place)
            directory.set_metadata_checksum(repo.entry(commit, "usr/lib").meta)
            for name, path in names.items():
                directory.replace_file(name, repo.entry(commit, str(path)).checksum)
        _, root = handle.write_mtree(tree, None)
        _, old, _ = handle.load_commit(commit)
        _, made = handle.write_commit_with_time(
            None, "old layout", None, old.get_child_value(0), root, repo.timestamp(commit), None
        )
        handle.transaction_set_ref(None, ref, made)
    return str(made)


def _below(tree: OSTree.MutableTree, path: str) -> OSTree.MutableTree:
    for name in path.strip("/").split("/"):
        _, tree = tree.ensure_dir(name)
    return tree
