"""Which mount points a host can have, and where they lead."""

import posixpath

import pytest

from imagebuild.deploy.commit_files import CommitFiles
from imagebuild.kickstart.mount_points import RunningTree, TreeFiles
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.tools.ostree.repository import Repo
from tests.kickstart.mount_samples import FILES, LINKS, Listed, asked, places
from tests.kickstart.samples import SMALL, read
from tests.tools.ostree.commits import make_commit


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TreeFiles]:
    """The same tree as a table, as a commit, and as what a live system runs from."""
    place, work = tmp_path_factory.mktemp("running"), tmp_path_factory.mktemp("commit")
    for name in FILES:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    for name, target in LINKS.items():
        (place / name).symlink_to(target)
    repo = Repo.ensure(work / "repo")
    commit = make_commit(repo, work, FILES, links=LINKS)
    return {"table": Listed(), "commit": CommitFiles(repo.path, commit), "running": RunningTree(place)}


@pytest.mark.parametrize(
    "command", ["part {} --size=64 --fstype=ext4", "logvol {} --size=64 --fstype=xfs --name=more --vgname=vg"]
)
@pytest.mark.parametrize(
    ("mount", "why"),
    [
        *[
            (mount, "the commit's own files")
            for mount in ("/usr", "/usr/", "//usr", "/./usr", "/usr/share", "/usr/lib/modules", "/usr/localx")
        ],
        *[
            (mount, "the commit's own files")
            for mount in ("/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32", "/lib/modules")
        ],
        *[(mount, "each deployment has its own") for mount in ("/etc", "/etc/ssh")],
        *[
            (mount, "the physical root")
            for mount in ("/sysroot", "/sysroot/tmp", "/sysroot/ostree/repo", "/ostree", "/ostree/repo")
        ],
        *[
            (mount, "at every boot")
            for mount in (
                "/proc",
                "/sys",
                "/dev",
                "/dev/shm",
                "/run",
                "/run/media/x",
                "/var/run",
                "/var/lock/x",
            )
        ],
        *[(mount, "all of /boot on one") for mount in ("/boot/loader", "/boot/grub2", "/boot/ostree")],
    ],
)
def test_what_no_host_can_have_is_refused_with_its_line(mount: str, why: str, command: str) -> None:
    text = SMALL + command.format(mount) + "\n"
    with pytest.raises(BadKickstartError) as caught:
        read(text)
    # what pykickstart 3 leaves of a mount point (commands/partition.py)
    assert caught.value.message.startswith(
        f"test.ks:{len(text.splitlines())}: {posixpath.normpath(mount)}: "
    ), caught.value.message
    assert why in caught.value.message
    assert "/var" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("part btrfs.1 --size=64 --fstype=btrfs", "part btrfs.1: no `btrfs` makes a volume of it"),
        ("btrfs /home --subvol --name=home LABEL=x", "there is no volume LABEL=x"),
        ("mount /dev/sda9 /home", "mount and partition commands can't be used at the same time"),
        ("raid /var --device=0 --level=1 raid.1 raid.2", "`raid` is not executed"),
        ("part /var --onpart=sda9", "option `onPart` is not executed"),
        ("logvol /var --useexisting --name=v --vgname=vg", "is not executed"),
    ],
)
def test_other_ways_to_ask_for_a_file_system_are_refused_with_their_line(line: str, complaint: str) -> None:
    text = SMALL + line + "\n"
    with pytest.raises(BadKickstartError) as caught:
        read(text)
    assert caught.value.message.startswith(f"test.ks:{len(text.splitlines())}: ")
    assert complaint in caught.value.message


@pytest.mark.parametrize(
    "mount",
    [
        "/var",
        "/var/",
        "//var",
        "/var/lib/containers",
        "/home",
        "/root",
        "/opt",
        "/srv",
        "/mnt",
        "/usr/local",
        "/tmp",
    ],
)
def test_what_depends_on_the_tree_is_taken_while_none_is_known(mount: str) -> None:
    assert places(read(asked(mount))) == [mount.rstrip("/").replace("//", "/")]


def test_a_boot_loaders_own_are_as_they_were() -> None:
    plan = read(
        asked("/var").replace(
            "part biosboot --size=1\n", "part biosboot --size=1\npart /boot/efi/ --size=64 --fstype=efi\n"
        ),
        tree=Listed(),
    )
    assert [mount for mount, _, _ in plan.file_systems()] == ["/", "/boot", "/var", "/boot/efi"]


@pytest.mark.parametrize("kind", ["table", "commit", "running"])
@pytest.mark.parametrize(
    ("mount", "place"),
    [
        ("/var", "/var"),
        ("/var/lib/docker", "/var/lib/docker"),
        ("/home", "/var/home"),
        ("/home/ada", "/var/home/ada"),
        ("/root", "/var/roothome"),
        ("/opt", "/var/opt"),
        ("/srv/www", "/var/srv/www"),
        ("/mnt", "/var/mnt"),
        ("/usr/local", "/var/usrlocal"),
        ("/usr/local/share", "/var/usrlocal/share"),
        ("/absolute", "/var/absolute"),
        ("/twice", "/var/home/ada"),
        ("/tmp", "/sysroot/tmp"),
        ("/exports", "/exports"),
    ],
)
def test_a_mount_point_is_where_the_trees_links_lead(
    trees: dict[str, TreeFiles], kind: str, mount: str, place: str
) -> None:
    assert places(read(asked(mount), tree=trees[kind])) == [place]


@pytest.mark.parametrize("kind", ["table", "commit", "running"])
@pytest.mark.parametrize(
    ("mount", "why"),
    [
        ("/media", "/media leads to /run/media in this tree"),
        ("/system", "/system leads to /usr/lib in this tree"),
        ("/stores", "/stores leads to /sysroot/ostree/deploy in this tree"),
        ("/round", "lead in a circle"),
        ("/odd", "is not a usable name or mount point"),
        ("/nowhere", "a link to the root directory"),
        ("/data", "this tree has no directory /data, and none can be made"),
        ("/exports/keep/x", "this tree has no directory /exports/keep/x"),
    ],
)
def test_where_a_tree_leads_to_nothing_a_host_can_have(
    trees: dict[str, TreeFiles], kind: str, mount: str, why: str
) -> None:
    with pytest.raises(BadKickstartError, match=r"^test\.ks:6: ") as caught:
        read(asked(mount), tree=trees[kind])
    assert why in caught.value.message, caught.value.message


def test_a_usr_local_that_is_the_commits_own_is_refused() -> None:
    """rpm-ostree 2026.2, composepost.rs, OptUsrLocal::Root: newer trees have /opt and /usr/local as
    directories.
    """
    tree = Listed(links={name: target for name, target in LINKS.items() if name not in ("usr/local", "opt")})
    for mount in ("/usr/local", "/usr/local/share"):
        with pytest.raises(BadKickstartError, match=f"{mount} is not a link out of /usr in this tree"):
            read(asked(mount), tree=tree)


def test_var_itself_wants_a_libostree_that_leaves_it_to_fstab() -> None:
    """libostree 2017.6 (commit 30705889, issue 855): before, the initramfs mounted /var, and systemd then
    takes no notice of fstab's.
    """
    old = Listed(files={})
    with pytest.raises(
        BadKickstartError,
        match=r"^test\.ks:6: /var: hosts of this tree would not mount it: .* older than 2017\.6",
    ):
        read(asked("/var"), tree=old)
    assert places(read(asked("/var/lib", "/home"), tree=old)) == ["/var/home", "/var/lib"]


@pytest.mark.parametrize(
    ("mounts", "place"),
    [(("/home", "/var/home"), "/var/home"), (("/opt", "//opt"), "/var/opt"), (("/var", "//var"), "/var")],
)
def test_two_that_are_the_same_place_are_refused(mounts: tuple[str, str], place: str) -> None:
    with pytest.raises(BadKickstartError, match=rf"^test\.ks:7: .*{place}.* is there twice"):
        read(asked(*mounts), tree=Listed())


def test_roots_home_and_the_root_are_two_partitions() -> None:
    text = (
        asked("/", "/root", "/swap")
        .replace("logvol / --size=3000", "logvol /srv --size=3000")
        .replace("--name=root", "--name=srv")
    )
    assert {each.mount: each.name for each in read(text).partitions if each.mount} == {
        "/boot": "boot",
        "/": "root",
        "/root": "at-root",
        "/swap": "at-swap",
    }
