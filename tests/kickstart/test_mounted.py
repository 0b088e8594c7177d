"""What is done with mount points: mounted, bound, filled, written to fstab."""

import os
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from imagebuild.deploy import configure, filesystems, first_boot, host_var
from imagebuild.deploy.execute import change, deployment_of, execute
from imagebuild.deploy.live_system import LiveSystem
from imagebuild.deploy.offline import OfflineTarget
from imagebuild.deploy.prescript import Expanded
from imagebuild.errors import BuildError
from imagebuild.kickstart.plan import Plan
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.live import install
from imagebuild.live.disks import Candidate
from imagebuild.live.kickstarts import Found
from tests.fake_sandbox import FakeSandbox
from tests.kickstart.mount_samples import Listed, asked, places
from tests.kickstart.samples import BIOS, GIB, SMALL, read

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
    assert ("fstrim", "/sysroot/boot") in sandbox.commands
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
    release = install.MediumRelease(
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
