"""File systems of an OSTree host beside its root: which mount points it can have, where they lead, and that
nothing lands under them.

Held against libostree 2022.7 and 2026.4 (docs/adapting-existing.md, src/switchroot/ostree-prepare-root.c,
ostree-impl-system-generator.c), rpm-ostree 2026.2 (rust/src/composepost.rs: a tree's links, and /opt and
/usr/local as directories) and the demo's own tree.
"""

import os
import posixpath
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest

from imagebuild.deploy import configure, filesystems, first_boot, host_var
from imagebuild.deploy.commit_files import CommitFiles
from imagebuild.deploy.execute import change, deployment_of, execute
from imagebuild.deploy.live_system import LiveSystem
from imagebuild.deploy.offline import OfflineTarget
from imagebuild.deploy.prescript import Expanded
from imagebuild.errors import BuildError
from imagebuild.kickstart.mount_points import GENERATOR, RunningTree, Tree
from imagebuild.kickstart.plan import Plan
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.live import install
from imagebuild.live.disks import Candidate
from imagebuild.live.kickstarts import Found
from imagebuild.tools.ostree.repository import Repo
from tests.fakes import FakeSandbox
from tests.kickstart.samples import BIOS, GIB, SMALL, read
from tests.tools.ostree.commits import make_commit

# what rpm-ostree and the demo's compose make of a tree
LINKS = {
    "home": "var/home",
    "root": "var/roothome",
    "opt": "var/opt",
    "srv": "var/srv",
    "mnt": "var/mnt",
    "media": "run/media",
    "tmp": "sysroot/tmp",
    "ostree": "sysroot/ostree",
    "usr/local": "../var/usrlocal",
    "bin": "usr/bin",
    "lib": "usr/lib",
    "absolute": "/var/absolute",
    "twice": "home/ada",
    "round": "round2",
    "round2": "./round",
    "nowhere": "/",
    "stores": "sysroot/ostree/deploy",
    "system": "usr/lib",
    "odd": "var/a b",
}
FILES = {GENERATOR.lstrip("/"): b"", "exports/keep": b"", "var/file": b"", "usr/share/x": b""}
DIRECTORIES = ("exports", "var", "usr", "boot", "sysroot")


@dataclass
class Listed:
    """A tree that is a table."""

    links: Mapping[str, str] = field(default_factory=lambda: LINKS)
    files: Mapping[str, bytes] = field(default_factory=lambda: FILES)

    def link(self, path: str) -> str | None:
        return self.links.get(path.lstrip("/"))

    def is_directory(self, path: str) -> bool:
        return path.lstrip("/") in DIRECTORIES

    def has(self, path: str) -> bool:
        return path.lstrip("/") in self.files


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tree]:
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


def asked(*mounts: str, fstype: str = "ext4") -> str:
    """A kickstart with partitions at these mount points, from line 5 on."""
    lines = "".join(f"part {mount} --size=64 --fstype={fstype}\n" for mount in mounts)
    return SMALL.replace("part pv.01", lines + "part pv.01").replace(
        "clearpart --all\n", "clearpart --all --disklabel=gpt\npart biosboot --size=1\n"
    )


def places(plan: Plan) -> list[str]:
    return host_var.mounts(plan)


# --- which a host can have ----------------------------------------------------------------------------------


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
        ("part btrfs.1 --size=64 --fstype=btrfs", "--fstype=btrfs is not executed"),
        ("btrfs /home --subvol --name=home LABEL=x", "`btrfs` is not executed"),
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


# --- where they lead ----------------------------------------------------------------------------------------


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
    trees: dict[str, Tree], kind: str, mount: str, place: str
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
    trees: dict[str, Tree], kind: str, mount: str, why: str
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


# --- what is done -------------------------------------------------------------------------------------------


NESTED = asked("/var/lib/docker", "/home", "/home/ada", "/var", "/tmp", "/exports")
STATEROOT = "/sysroot/ostree/deploy/os/var"


def test_fstab_has_the_hosts_places_parents_first() -> None:
    sandbox, plan = FakeSandbox(), read(NESTED, tree=Listed())
    configure.configure(plan, sandbox, PurePosixPath("/d"))
    fstab = sandbox.files[PurePosixPath("/d/etc/fstab")].data.decode()
    mounts = [line.split()[1] for line in fstab.splitlines() if not line.startswith("#")]
    # systemd before its pull request 6293 (2017) mounts nothing where a link is, and libostree's generator
    # looks for exactly `/var`
    assert mounts == [
        "/",
        "/boot",
        "/exports",
        "/var",
        "/sysroot/tmp",
        "/var/home",
        "/var/home/ada",
        "/var/lib/docker",
    ]


def test_they_are_mounted_in_the_physical_root_parents_first_and_trimmed() -> None:
    class Blocks(FakeSandbox):
        def device(self, name: str) -> str:
            return f"/dev/{name}"

    sandbox, plan = Blocks(), read(NESTED, tree=Listed())
    filesystems.mount(plan, sandbox)
    assert [argv[-1] for argv in sandbox.commands if argv[0] == "mount"] == [
        "/sysroot",
        "/sysroot/boot",
        "/sysroot/exports",
        "/sysroot/var",
        "/sysroot/tmp",
        "/sysroot/var/home",
        "/sysroot/var/home/ada",
        "/sysroot/var/lib/docker",
    ]
    sandbox.commands.clear()
    filesystems.unmount(plan, sandbox, trim=True)
    assert ("fstrim", "/sysroot/var/home") in sandbox.commands
    assert sandbox.commands[-1] == ("umount", "-R", "/sysroot")


@pytest.mark.parametrize(
    ("mounts", "bound"),
    [
        ((), {}),
        (("/var",), {"/sysroot/var": STATEROOT}),
        (
            ("/home", "/var/lib"),
            {"/sysroot/var/home": f"{STATEROOT}/home", "/sysroot/var/lib": f"{STATEROOT}/lib"},
        ),
        # what is mounted below another comes along with it
        (("/var/lib/docker", "/home", "/var"), {"/sysroot/var": STATEROOT}),
        (("/home", "/home/ada"), {"/sysroot/var/home": f"{STATEROOT}/home"}),
        (("/tmp",), {}),
    ],
)
def test_they_are_bound_to_where_the_host_has_them(mounts: tuple[str, ...], bound: dict[str, str]) -> None:
    sandbox, plan = FakeSandbox(), read(asked(*mounts), tree=Listed())
    host_var.fill(plan, sandbox, PurePosixPath("/d"))
    assert [argv for argv in sandbox.commands if argv[0] == "cp"] == [
        ("cp", "-a", f"{place}/.", source) for source, place in bound.items()
    ]
    sandbox.commands.clear()
    host_var.gather(plan, sandbox)
    assert sandbox.commands == [("mount", "--rbind", source, place) for source, place in bound.items()]
    configure.open_deployment(plan, sandbox, PurePosixPath("/d"))
    assert ("mount", "--rbind", STATEROOT, "/d/var") in sandbox.commands
    sandbox.commands.clear()
    host_var.release(plan, sandbox)
    assert [argv[-1] for argv in sandbox.commands] == list(bound.values())[::-1]


def test_what_is_beside_var_is_bound_with_mode_and_owner_of_what_it_hides() -> None:
    sandbox, plan = FakeSandbox(), read(asked("/exports"), tree=Listed())
    host_var.fill(plan, sandbox, PurePosixPath("/d"))
    assert sandbox.commands == [
        ("chown", "--reference=/d/exports", "/sysroot/exports"),
        ("chmod", "--reference=/d/exports", "/sysroot/exports"),
    ]
    configure.open_deployment(plan, sandbox, PurePosixPath("/d"))
    assert ("mount", "--rbind", "/sysroot/exports", "/d/exports") in sandbox.commands


class Installed(FakeSandbox):
    """A target of which only the order of what is done with it counts."""

    def run(self, *commands: object, env: object = None) -> str:
        super().run(*commands)  # type: ignore[arg-type]  # as the protocol has it
        return "/usr/bin/grub-mkimage" if any("grub-mkimage" in str(argv) for argv in commands) else "1"

    def read(self, path: PurePosixPath) -> bytes:
        return b""

    def prepare(self, plan: Plan) -> None:
        self.commands.append(("prepared",))

    def reopen(self, plan: Plan, *, read_only: bool) -> None: ...

    def grow(self, name: str, fstype: str, place: PurePosixPath) -> None: ...

    def finish(self, plan: Plan) -> None:
        self.commands.append(("finished",))


def test_the_deployment_is_made_before_var_is_filled_and_bound_before_anything_is_written() -> None:
    target, plan = Installed(), read(NESTED, tree=Listed())
    execute(plan, target, commit="c" * 64)
    steps = [" ".join(argv) for argv in target.commands]

    def index(begin: str) -> int:
        return next(number for number, step in enumerate(steps) if step.startswith(begin))

    order = [
        "prepared",
        "ostree admin os-init",
        "ostree admin deploy",
        f"cp -a {STATEROOT}/.",
        "mount --rbind /sysroot/var",
        f"mount --rbind {STATEROOT} {deployment_of(plan, 'c' * 64)}/var",
        "sh -c status=0",
        "finished",
    ]
    assert [index(step) for step in order] == sorted(index(step) for step in order)


def test_a_disk_that_is_changed_has_them_bound_and_not_filled_again() -> None:
    base, plan = (read(NESTED + more, tree=Listed()) for more in ("", "user --name=eve\n"))
    target = Installed()
    change(base, plan, target, commit="c" * 64)
    steps = [" ".join(argv) for argv in target.commands]
    assert not [step for step in steps if step.startswith("cp ")]
    assert steps.index(f"mount --rbind /sysroot/var {STATEROOT}") < steps.index(
        f"mount --rbind {STATEROOT} {deployment_of(plan, 'c' * 64)}/var"
    )


def test_a_disk_is_looked_into_as_its_host_has_it() -> None:
    sandbox = FakeSandbox()
    first_boot.read_facts(read(asked("/var", "/home"), tree=Listed()), sandbox, PurePosixPath("/d"))
    assert sandbox.commands[0] == ("mount", "--rbind", "/sysroot/var", STATEROOT)
    assert STATEROOT in sandbox.commands[1]


def test_a_home_on_a_file_system_of_its_own_is_the_users(tmp_path: Path) -> None:
    """What useradd leaves alone because it is there already; anybody else's home is not touched."""
    plan = read(asked("/home/ada") + "user --name=ada\nuser --name=bob\n", tree=Listed())
    sandbox = FakeSandbox()
    configure.configure(plan, sandbox, PurePosixPath("/d"))
    script = next(text for text in sandbox.scripts if "useradd" in text)
    commands, said = tmp_path / "bin", tmp_path / "said"
    commands.mkdir()
    stubs = {
        "getent": "exit 2",
        "useradd": ":",
        "grep": ":",
        "realpath": 'echo "/var$2"',
        "cp": f'echo "cp $*" >> {said}',
        "find": f'echo "find $*" >> {said}',
    }
    for name, body in stubs.items():
        (commands / name).write_text(f"#!/bin/sh\n{body}\n")
        (commands / name).chmod(0o755)
    subprocess.run(
        ["sh", "-e", "-s"],
        input=script,
        text=True,
        check=True,
        env={"PATH": f"{commands}:{os.environ['PATH']}"},
    )
    lines = said.read_text().splitlines()
    assert lines[-1] == "find /home/ada -xdev ! -name lost+found -exec chown -h ada: {} +"
    assert "bob" not in said.read_text()
    assert "find" not in "".join(_scripts(read(SMALL + "user --name=ada\n")))


def _scripts(plan: Plan) -> list[str]:
    sandbox = FakeSandbox()
    configure.configure(plan, sandbox, PurePosixPath("/d"))
    return sandbox.scripts


def test_the_live_installer_asks_the_tree_that_it_runs_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "RunningTree", Listed)
    live, disk = (
        LiveSystem(tree=Path("/dev/loop0"), medium=frozenset()),
        Candidate(name="vda", size=8 * GIB, model=""),
    )
    release = install.Release(
        product="", version="", ref="a/b", commit="c" * 64, kernel="", syntax="F28", signed=False, keys=()
    )
    found = Found(text="", name="ks.cfg", given=True)
    plan = install._plan(live, Expanded(text=asked("/home")), found, release, disk)
    assert places(plan) == ["/var/home"]
    with pytest.raises(BadKickstartError, match=r"^ks\.cfg:6: /data: this tree has no directory"):
        install._plan(live, Expanded(text=asked("/data")), found, release, disk)


def test_the_offline_way_takes_its_binds_away_before_it_moves_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    class Space:
        def run(self, argv: list[str], **_: object) -> str:
            ran.append(" ".join(str(word) for word in argv))
            if argv[0] == "mkdir":
                raise BuildError("enough")
            return ""

    target = OfflineTarget(Space(), tmp_path, tmp_path / "disk", None)  # type: ignore[arg-type]  # stands for a Namespace
    with pytest.raises(BuildError, match="enough"):
        target.finish(read(asked("/var", "/home"), tree=Listed(), firmware=BIOS))
    assert ran[-2:] == [f"umount -R {STATEROOT}", "mkdir /stage"]
