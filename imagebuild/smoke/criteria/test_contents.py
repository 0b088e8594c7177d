"""What runs is the commit, bit by bit, and nobody can write into it."""

from imagebuild.smoke.criterion import Group, criterion
from imagebuild.smoke.host.words import Host


@criterion(
    group=Group.SYSTEM,
    about=(
        "/usr is the booted commit's, bit by bit: names, modes, owners, content (a sample where emulated)."
    ),
)
def test_what_runs_is_the_commit(host: Host) -> None:
    commit = host.booted().commit
    assert commit, "no deployment is booted"
    if host.asked_of_root("composefs", "enabled") in ("verity", "signed"):
        mount = host.mount_at("/usr") or host.mount_at("/")
        assert mount is not None, "nothing is mounted at /"
        if mount.fstype == "overlay" and "verity=require" in mount.options:
            # the kernel compares every block that is read
            assert (other := host.reason_not_the_image_of(commit)) is None, other
            return
    found = host.compare_with(commit)
    sample = f" (a sample, seed {found.seed})" if found.seed else ""
    assert not found.differences, (
        f"/usr is not the commit's{sample}: {'; '.join(found.differences[:5])}"
        f"{' …' if len(found.differences) > 5 else ''}"
    )
    assert found.names, "nothing of /usr was compared"
    assert found.contents, "no file of /usr was compared"


@criterion(
    group=Group.SYSTEM,
    about="Nothing can be written into /usr, nor beside it into /, nor into a /sysroot that is read-only.",
)
def test_usr_cannot_be_written(host: Host) -> None:
    places = ["/usr", "/usr/bin", "/usr/lib/systemd/system"]
    # ostree-prepare-root.conf(5), [root] transient
    if host.asked_of_root("root", "transient") not in ("true", "1", "yes"):
        places.append("/")
    if host.wants_readonly_sysroot():
        places.append("/sysroot")
    written = host.writable(*places)
    assert not written, f"root can write into {', '.join(written)}"
