"""A tree of Fedora 25, in which kernel and initramfs lie where rpm-ostree put them before 2017.9: from its pull to a booted download.

rpm-ostree 2016.11, src/libpriv/rpmostree-postprocess.c (do_kernel_prep): both are moved to /boot and hard-linked into /usr/lib/ostree-boot,
their names ending with the SHA-256 of kernel and initramfs; the kernel's package keeps its own vmlinuz in /usr/lib/modules.
"""

import hashlib
from pathlib import Path

import gi

gi.require_version("OSTree", "1.0")
from gi.repository import GLib, OSTree  # noqa: E402  # a version must be named first

from imagebuild.formats.table import FORMATS  # noqa: E402  # after gi's
from imagebuild.kinds import Firmware  # noqa: E402  # after gi's
from imagebuild.pipeline import wire  # noqa: E402  # after gi's
from imagebuild.stages.tree import pin  # noqa: E402  # after gi's
from imagebuild.tools.ostree import Repo  # noqa: E402  # after gi's
from tests.vm.conftest import REF  # noqa: E402  # after gi's
from tests.vm.wiring import Lab  # noqa: E402  # after gi's


def old_layout(repo: Repo, commit: str) -> str:
    """Commit the same tree in the layout of Fedora 25 to the same ref; return the commit."""
    handle = repo.handle
    (kernel,) = [name for name in repo.listing(commit, "usr/lib/modules") if name[:1].isdigit()]
    place = f"usr/lib/modules/{kernel}"
    vmlinuz, initramfs = (repo.entry(commit, f"{place}/{name}").checksum for name in ("vmlinuz", "initramfs.img"))
    content = b"".join(repo.read(commit, f"{place}/{name}") or b"" for name in ("vmlinuz", "initramfs.img"))
    end = hashlib.sha256(content).hexdigest()
    tree = OSTree.MutableTree.new_from_commit(handle, commit)
    lib = tree.get_subdirs()["usr"].get_subdirs()["lib"]
    lib.get_subdirs()["modules"].get_subdirs()[kernel].remove("initramfs.img", False)
    _, old = lib.ensure_dir("ostree-boot")
    old.set_metadata_checksum(lib.get_metadata_checksum())
    for directory in (old, tree.get_subdirs()["boot"]):
        directory.replace_file(f"vmlinuz-{kernel}-{end}", vmlinuz)
        directory.replace_file(f"initramfs-{kernel}.img-{end}", initramfs)
    with repo.transaction():
        _, root = handle.write_mtree(tree, None)
        metadata = GLib.Variant("a{sv}", {"version": GLib.Variant("s", "12.25")})
        _, made = handle.write_commit_with_time(None, "the layout of 2016", None, metadata, root, repo.timestamp(commit) + 1, None)
    return str(made)


def test_a_tree_in_the_layout_of_2016_becomes_a_disk_that_boots(lab: Lab, tmp_path: Path) -> None:
    composed = Repo(lab.store / "compose" / "repo")
    before = composed.refs()[REF]
    # another ref: the cached compose stays as it is
    ref = "test/old-layout"
    composed.set_ref(ref, old_layout(composed, before))
    try:
        source = lab.settings.tree.model_copy(update={"gpg_keys": (), "allow_unsigned": True})
        settings = lab.settings.model_copy(update={"tree": source, "refs": (ref,)})
        pipeline = wire(settings, pin(source, ref), lab.host)
        (download,) = [image for image in pipeline.images if image.name == "qcow2 cloud"]
        outcome = lab.must(download)
        tree, image = outcome.value(pipeline.tree), outcome.value(download)
        assert tree.version == "12.25"
        work = tmp_path / "unpacked"
        work.mkdir()
        disk = FORMATS[image.format].unpack(image.file, work)
        with lab.booted(tree, disk.disk, tmp_path / "boot", form=disk.format, firmware=Firmware.BIOS) as boot:
            assert boot.host is not None, boot.problem
            assert boot.host.booted().commit == tree.commit
            assert boot.host.succeeds("uname", "-r").strip() == tree.kernel
    finally:
        composed.set_ref(ref, None)
