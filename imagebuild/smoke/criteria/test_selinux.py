"""Where the tree has SELinux it is enforcing, files are labelled, and it has nothing to complain about."""

from imagebuild.smoke.criterion import Group, Trait, criterion
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.host.words import Host

# what restorecon would give to each place (fedora's file_contexts); unlabeled_t means that nobody labelled it
PLACES = ("/", "/boot", "/boot/efi", "/sysroot")
DENIED = ("avc:  denied", "avc: denied")


@criterion(
    group=Group.SYSTEM,
    about="SELinux is enforcing, files are labelled, and nothing was denied.",
    applies_to="trees with SELinux",
    needs=(Trait.SELINUX,),
)
def test_selinux_is_enforcing_and_files_are_labelled(host: Host) -> None:
    if not host.is_there("/etc/selinux/config") or not host.has("getenforce"):
        raise NotApplicableError("the tree has no SELinux (neither /etc/selinux/config nor getenforce)")
    mode = host.succeeds("getenforce").strip()
    assert mode == "Enforcing", f"SELinux is {mode}"
    for place in PLACES:
        if place == "/boot/efi" and not host.is_there(place):
            continue
        label = host.succeeds("stat", "-c", "%C", place).strip()
        assert ":" in label, f"{place} has no label: {label}"
        assert "unlabeled_t" not in label, f"nobody labelled {place}: {label}"
    # the audit daemon's messages, and those that came through the kernel's log before it ran
    denied = [line for line in host.journal().splitlines() if any(word in line for word in DENIED)]
    assert not denied, f"SELinux denied something: {denied[0]}"
