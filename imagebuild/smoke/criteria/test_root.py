"""The root file system is put together as the tree asks for it: what is to be read-only is, /etc is merged or
transient, and an image of the commit that checks its content does.
"""

from collections.abc import Callable

from imagebuild.smoke.criterion import Group, Trait, criterion
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.host.roots import TRUE
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.stops import ReadAgain


@criterion(
    group=Group.SYSTEM,
    about="/sysroot is read-only, and what a host writes into is not.",
    applies_to="trees that ask for a read-only /sysroot",
    needs=(Trait.READ_ONLY,),
)
def test_sysroot_is_read_only(host: Host) -> None:
    if not host.wants_readonly_sysroot():
        raise NotApplicableError("the tree does not ask for a read-only /sysroot")
    mount = host.mount_at("/sysroot")
    assert mount is not None, "nothing is mounted at /sysroot"
    assert "ro" in mount.options, "/sysroot is writable, although the tree asks for it to be read-only"
    for place in ("/etc", "/var", "/tmp"):
        assert host.can_write(place), (
            f"/sysroot is read-only, and nothing can be written into {place}, either"
        )


@criterion(
    group=Group.SYSTEM,
    about="/etc keeps its changes, or begins as the tree's at every boot, as the tree asks for it.",
    applies_to="trees that ask for a read-only /sysroot",
    needs=(Trait.READ_ONLY,),
)
def test_etc_is_merged_or_transient(host: Host) -> None:
    if not host.wants_readonly_sysroot():
        raise NotApplicableError("/etc is the deployment's own directory: the tree asks for nothing else")
    mount = host.mount_at("/etc")
    assert mount is not None, "nothing is mounted at /etc, so it cannot be written apart from the deployment"
    if host.has_transient_etc():
        assert mount.fstype == "overlay", (
            f"/etc is to be transient, but it is {mount.fstype}: it keeps changes"
        )
    else:
        assert mount.fstype != "overlay", "/etc is an overlay: it loses its changes at the next boot"


@criterion(
    group=Group.SYSTEM,
    about=(
        "/ is the image of the booted commit, and a file whose object was changed while the host was off"
        " cannot be read."
    ),
    applies_to="trees with composefs that checks content (verity or signed)",
    needs=(Trait.CHECKED,),
)
def test_a_changed_object_is_not_read(host: Host, read_changed: Callable[[str, str], ReadAgain]) -> None:
    enabled = host.asked_of_root("composefs", "enabled")
    if enabled not in ("verity", "signed"):
        reason = (
            f"composefs is {enabled}: / is an image, but nothing checks the content of files"
            if enabled in (*TRUE, "maybe")
            else "the tree does not use composefs"
        )
        raise NotApplicableError(reason)
    mount = host.mount_at("/")
    assert mount is not None, "nothing is mounted at /"
    assert mount.fstype == "overlay", f"/ is {mount.fstype}, not the commit's image"
    # overlayfs.rst (Linux 6.6), "fs-verity support": every file must have the digest that the image says
    assert "verity=require" in mount.options, "/ is mounted without verity=require: content is not checked"
    commit = host.booted().commit
    assert commit, "no deployment is booted"
    assert (other := host.reason_not_the_image_of(commit)) is None, other
    path = host.small_file()
    again = read_changed(path, host.object_of(commit, path))
    assert again.problem is None, f"with {path} changed the host does not come up at all: {again.problem}"
    assert again.answer is not None
    assert again.answer.status != 0, (
        f"{path} was read, although its object was changed while the host was off"
    )
    # errno(3), EIO: fs-verity's answer (fsverity.rst, "Accessing verity files"), and overlayfs' own
    assert "Input/output error" in again.answer.complaint, (
        f"{path} could not be read for another reason: {again.answer.complaint.strip()[-300:]}"
    )
