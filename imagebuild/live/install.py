"""The installation from beginning to end: kickstart, plan, disk, check of the embedded commit, execution, end
of the live system.
"""

import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from imagebuild import steplog
from imagebuild.architectures.registry import builder_architecture
from imagebuild.deploy import luks, prescript
from imagebuild.deploy.live_system import LiveSystem, disk_of, sector_of
from imagebuild.deploy.local import install_local, local_target
from imagebuild.deploy.prescript import Expanded
from imagebuild.deploy.target import REPO, File
from imagebuild.errors import BuildError
from imagebuild.kickstart import plan as planning
from imagebuild.kickstart import source as language
from imagebuild.kickstart.encryption import GIVE_ONE, UNATTENDED
from imagebuild.kickstart.mount_points import RunningTree
from imagebuild.kickstart.plan import Plan
from imagebuild.kickstart.problems import located
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.kickstart.statements import Statements
from imagebuild.live import dialogue, disks, kickstarts, on_error
from imagebuild.live.arguments import Arguments
from imagebuild.live.disks import Candidate
from imagebuild.live.kickstarts import Found
from imagebuild.live.terminal import Terminal
from imagebuild.tools import command

# what the ISO brings along (installers/product.py)
PROGRAM = Path(__file__).parent.parent.parent
EMBEDDED = "file:///ostree/repo"
MIB = 1 << 20
GIB = 1 << 30
VERIFY = PurePosixPath("/run/verify")


@dataclass(frozen=True, kw_only=True)
class MediumRelease:
    """What is on the medium: the commit and what the kickstarts for it are written in; it is `signed` by one
    of `keys`, or not, by decision.
    """

    product: str
    version: str
    ref: str
    commit: str
    kernel: str
    syntax: str
    signed: bool
    keys: tuple[Path, ...]

    @classmethod
    def read(cls, program: Path = PROGRAM) -> "MediumRelease":
        """Read what the ISO was made from."""
        facts = json.loads((program / "release.json").read_text())
        return cls(**facts, keys=tuple(sorted((program / "keys").glob("*.asc"))))


def run(live: LiveSystem, arguments: Arguments, terminal: Terminal) -> str:
    """Install, and return how the live system is to end: reboot, poweroff, or empty to ask. Raises
    BuildError.
    """
    release = MediumRelease.read()
    terminal.say(f"{release.product}, installer for {live.firmware.upper()}")
    disks.wait_until_known()
    found = kickstarts.find(arguments.kickstart, PROGRAM / "defaults.ks", terminal.say)
    terminal.say(f"kickstart: {found.name}")
    with on_error.executed(live, found.text, release.syntax, found.name, terminal):
        return _installed(live, found, release, terminal)


def _installed(live: LiveSystem, found: Found, release: MediumRelease, terminal: Terminal) -> str:
    expanded = _expanded(live, found, release)
    text, disk, asked = _complete(live, expanded, found, release, terminal)
    # what was answered stands behind the lines that came from somewhere
    complete = Expanded(text=text, origin=expanded.origin)
    plan = _plan(live, complete, found, release, disk)
    kickstarts.IN_USE.write_text(text)
    said = _read(complete, found, release)
    if said.lacks_passphrase:
        plan = luks.with_passphrase(plan, _passphrase(said, found, asked, terminal))
    if asked:
        dialogue.confirm(terminal, disk, summary(plan))
    else:
        _check_clearpart(said, disk, found)
    _check_groups(plan, disk)
    terminal.say(f"checking commit {release.commit}")
    begun = time.monotonic()
    verify(live, release)
    terminal.say(
        f"the commit is whole{' and signed' if release.signed else ''} ({time.monotonic() - begun:.0f} s)"
    )
    terminal.say(f"installing on {disk.shown}")
    install_local(live, disk.name, plan, commit=release.commit, kernel=release.kernel)
    terminal.say(f"installation complete ({time.monotonic() - begun:.0f} s)")
    return said.ends_with


def _passphrase(said: Statements, found: Found, asked: bool, terminal: Terminal) -> str:
    """Ask for the passphrase that a kickstart does not give. Raises BuildError where nobody is asked."""
    if not asked or said.non_interactive:
        raise BuildError(f"{found.name}:{said.lacks_passphrase[0]}: {UNATTENDED}", hint=GIVE_ONE)
    return dialogue.passphrase(terminal)


def _expanded(live: LiveSystem, found: Found, release: MediumRelease) -> Expanded:
    """Return the kickstart with what its %pre sections wrote."""
    return prescript.expand_located(
        found.text, release.syntax, lambda: local_target(live, None, None), found.name
    )


def _read(kickstart: Expanded, found: Found, release: MediumRelease) -> Statements:
    with located(found.name, kickstart.origin):
        said = language.executable(kickstart.text, release.syntax, found.name, encrypted=True)
        source = said.source
        if source is not None and (source.url.rstrip("/") != EMBEDDED or source.ref != release.ref):
            raise BadKickstartError(
                f"{found.name}:{source.line}: ostreesetup --url={source.url} --ref={source.ref}: "
                f"this medium holds {release.ref} at {EMBEDDED} and nothing else",
                hint="installed hosts are given their own remote in %post",
            )
    return said


def _complete(
    live: LiveSystem, kickstart: Expanded, found: Found, release: MediumRelease, terminal: Terminal
) -> tuple[str, Candidate, bool]:
    """Return the kickstart with the answers to what it does not say, the disk to be erased, and whether a
    person answers.
    """
    said, text = _read(kickstart, found, release), kickstart.text
    able = [each for each in disks.candidates(live) if each.name != disk_of(found.device)]
    names, lacking = said.disks, dialogue.missing(said)
    asked = bool(lacking) or not found.given
    disk = dialogue.choose_disk(terminal, able) if asked and able and not names else disks.choose(names, able)
    if lacking:
        terminal.say(f"the kickstart does not say {', '.join(lacking)}")
        text = text.rstrip("\n") + "\n" + dialogue.accounts(terminal, said, admin_group())
    if asked and not names:
        text = text.rstrip("\n") + f"\nignoredisk --only-use={disk.name}\n"
    return text, disk, asked


def admin_group() -> str:
    """Return the group whose members may become root here: wheel, or Debian's sudo."""
    lines = [
        line
        for file in (Path("/etc/group"), Path("/usr/lib/group"))
        if file.exists()
        for line in file.read_text().splitlines()
    ]
    return "wheel" if any(line.startswith("wheel:") for line in lines) else "sudo"


def _plan(
    live: LiveSystem, kickstart: Expanded, found: Found, release: MediumRelease, disk: Candidate
) -> Plan:
    """Plan for this disk and firmware. Ids are of this installation alone: two of them may meet in one
    machine.
    """
    return planning.read(
        kickstart.text,
        release.syntax,
        disk_size=disk.size // MIB * MIB,
        firmware=frozenset({live.firmware}),
        seed=f"{release.commit} {secrets.token_hex(16)}",
        epoch=int(time.time()),
        name=found.name,
        origin=kickstart.origin,
        tree=RunningTree(),
        sector_size=sector_of(disk.name),
        encrypted=True,
        arch=builder_architecture(),
    )


def _check_clearpart(said: Statements, disk: Candidate, found: Found) -> None:
    """Refuse to erase what the kickstart does not say may be erased, where nobody is asked."""
    if disk.content and not said.erases_all:
        raise BuildError(
            f"{found.name}: {disk.name} is not empty ({'; '.join(disk.content)}) and there is no `clearpart"
            " --all`",
            hint="add `clearpart --all`, or take a disk that is empty",
        )


def _check_groups(plan: Plan, disk: Candidate) -> None:
    """Refuse when another disk has a volume group of the name that is going to be made: neither host would
    come up with both.
    """
    _, said = command.status(["vgs", "--readonly", "--noheadings", "--separator=:", "-o", "vg_name,pv_name"])
    for line in said.splitlines():
        group, _, device = line.strip().partition(":")
        if (
            plan.group
            and group == plan.group
            and device.startswith("/dev/")
            and not _lies_on(device, disk.name)
        ):
            raise BuildError(
                f"{device} holds a volume group {group} too, the name that this installation uses",
                hint=f"take that disk out, erase it, or rename its group: vgrename {group} NAME",
            )


def _lies_on(device: str, disk: str) -> bool:
    number = Path(device).stat().st_rdev
    return disk_of(f"{os.major(number)}:{os.minor(number)}") == disk


def summary(plan: Plan) -> list[str]:
    """Return the layout for a person."""
    lines = [
        f"{each.mount or each.name}: {each.size / GIB:.1f} GiB {each.content}" for each in plan.partitions
    ]
    return lines + [
        f"{each.mount or each.name}: {each.size / GIB:.1f} GiB {each.fstype or each.kind}"
        for each in plan.volumes
    ]


def verify(live: LiveSystem, release: MediumRelease) -> None:
    """Check the embedded commit's signature and every object, before anything is written. Raises
    BuildError.
    """
    config = (
        "[core]\nrepo_version=1\nmode=bare\n[remote"
        f' "embedded"]\nurl=file://{REPO}\ngpg-verify=true\ngpgkeypath=/run/keys\n'
    )
    with local_target(live, None, None) as sandbox:
        if release.signed:
            if not release.keys:
                raise BuildError(
                    "the keys that the commit must be signed with are not on this medium",
                    hint="do not install it",
                )
            sandbox.run(["ostree", f"--repo={VERIFY}", "init", "--mode=bare"])
            sandbox.write(
                {PurePosixPath("/run/keys") / key.name: File(data=key.read_bytes()) for key in release.keys}
            )
            sandbox.write({VERIFY / "config": File(data=config.encode())})
            try:
                sandbox.run(
                    [
                        "ostree",
                        f"--repo={VERIFY}",
                        "pull",
                        "--commit-metadata-only",
                        "embedded",
                        release.commit,
                    ]
                )
            except BuildError as error:
                raise BuildError(
                    f"the commit on this medium is not signed by a key of the release: {error.message}",
                    hint="do not install it",
                ) from error
        else:
            steplog.note("the commit is not signed, by decision of whoever made this medium")
        try:
            sandbox.run(["ostree", f"--repo={REPO}", "fsck", "--quiet"])
        except BuildError as error:
            raise BuildError(
                f"the medium is damaged: {error.message}", hint="download or write it again"
            ) from error
