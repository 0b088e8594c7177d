"""Stand-ins for what a unit test cannot have: a host that answers as told. Everything else is real."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

from imagebuild.deploy.target import Argv, File
from imagebuild.errors import BuildError
from imagebuild.kinds import Controller, Firmware, Login
from imagebuild.smoke.container_units import CONTAINER_UNIT, SYSTEM_UNIT
from imagebuild.smoke.host.expected import ContainerRegistry, Expected
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.hosts.commands import Deployment
from imagebuild.smoke.hosts.ostree import OstreeHost
from imagebuild.smoke.served import PACKAGE, Earlier, ServedRelease
from imagebuild.smoke.stops import Fall, Offer, SoftReboot, Stop, Survival
from imagebuild.smoke.trial import Bench, Promise, Scope, Subject, Terms, Trial
from imagebuild.tools import vagrant_key
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.ssh import Answer

COMMIT = "ab" * 32
TERMS = Terms(
    login=Login.CLOUD_INIT,
    user="debian",
    storage="podman-overlay",
    remote="debian-atomic",
    update_url="https://ostree.example.org/debian",
)
PROMISE = Promise(
    terms=TERMS, commit=COMMIT, version="12.3", ref="debian/12/x86_64/atomic-host", host_kind="ostree"
)
EXPECTED = Expected(
    promise=PROMISE,
    hostname="smoke-1234",
    user="debian",
    public_key="ssh-ed25519 AAAAC3Nz test",
    script_marker="imagebuild-1234",
    registry=ContainerRegistry(address="10.0.2.100:5000", authority="PEM"),
    web="http://10.0.2.100/hello",
    grown=1 << 30,
)
REFSPEC = PROMISE.refspec
BOOT_LINK = "/ostree/boot.1/debian-atomic/ffff/0"
DEPLOYED = f"/sysroot/ostree/deploy/debian-atomic/deploy/{COMMIT}.0"
PODMAN_INFO = (
    '{"store": {"graphDriverName": "overlay", "graphRoot": "/var/lib/containers/storage", "graphStatus":'
    ' {"Supports d_type": "true"}}}'
)

# a healthy plain ostree host: the beginning of a command line -> what it prints (or None: it fails)
HEALTHY: dict[str, str | None] = {
    "sh -c cat /boot/loader/entries/": (
        f"title A\nversion 1\noptions root=/dev/mapper/atomicos-root ostree={BOOT_LINK}\nlinux /x\n"
    ),
    f"readlink -f /sysroot{BOOT_LINK}": f"{DEPLOYED}\n",
    "sh -c stat -L": f"1:2 /\n1:2 {DEPLOYED}\n1:3 {DEPLOYED}.origin\n",
    f"cat {DEPLOYED}.origin": "[origin]\nrefspec=debian-atomic:debian/12/x86_64/atomic-host\n",
    "ostree --repo=/sysroot/ostree/repo show": "'12.3'\n",
    # Debian 12's kernel 6.1 under OVMF 2022.11 with enrolled keys
    **{
        f"od -A n -t u1 /sys/firmware/efi/efivars/{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c": answer
        for name, answer in (
            ("SecureBoot", "   6   0   0   0   1\n"),
            ("SetupMode", "   6   0   0   0   0\n"),
        )
    },
    "cat /sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
    "cat /proc/cmdline": "root=/dev/mapper/atomicos-root\n",
    "cat /run/cloud-init/result.json": (
        '{"v1": {"datasource": "DataSourceNoCloud [seed=/dev/vdb]", "errors": []}}'
    ),
    "cat /etc/ostree/remotes.d/debian-atomic.conf": (
        "[remote"
        ' "debian-atomic"]\nurl=https://ostree.example.org/debian\ngpg-verify=true\ngpgkeypath=/usr/share/ostree/debian-atomic.asc\n'
    ),
    "test -s /usr/share/ostree/debian-atomic.asc": "",
    "uname -n": "smoke-1234\n",
    "cat /etc/hostname": "smoke-1234\n",
    "getent passwd debian": "debian:x:1000:1000::/home/debian:/bin/bash\n",
    "cat /home/debian/.ssh/authorized_keys": "ssh-ed25519 AAAAC3Nz test\n",
    "cat /var/tmp/imagebuild-user-script": "imagebuild-1234\n",
    "cat /var/tmp/imagebuild-runcmd": "imagebuild-1234\n",
    "cat /etc/machine-id": "ab" * 16 + "\n",
    "stat -L -c %a /tmp": "1777\n",
    "date +%s": "0\n",
    "mkdir": "",
    "sh -c \nset -eu\nrm -rf": "",
    "unshare --mount": "",
    "podman volume ls": "",
    "sh -c cat >": "",
    "lsblk --noheadings --list --inverse": "atomicos-root lvm\nvda4 part\nvda disk\n",
    "lsblk --noheadings --list --bytes": (
        "vda 7516192768 disk\nvda1 379584512 part\nvda4 7132397056 part\natomicos-root 7130316800 lvm\n"
    ),
    "pvs": f"  {7132397056 - 4194304}\n",
    "journalctl": "",
    "systemctl is-system-running": "running\n",
    "systemctl list-units": "",
    "systemctl show cloud-final.service": "ActiveState=activating\nLoadState=loaded\nUnitFileState=enabled\n",
    "findmnt -b -n -o SIZE /sysroot": "7000000000\n",
    "systemctl show docker.service": "ActiveState=active\nLoadState=loaded\nResult=success\n",
    "systemctl show podman.socket": "ActiveState=active\nLoadState=loaded\nResult=success\n",
    "systemctl start": "",
    "sh -c command -v": "/usr/bin/x\n",
    "podman info": PODMAN_INFO,
    "findmnt": "/dev/mapper/atomicos-root[/ostree/deploy/debian-atomic/var]\n",
    "docker pull": "x\n",
    "podman pull": "x\n",
    **{f"{name} run --rm --network=none -v": "hello from the builder\n" for name in ("docker", "podman")},
    "docker run": "hello from a container\n",
    "podman run": "hello from a container\n",
}


# a healthy Vagrant box: what is different
HEALTHY_BOX: dict[str, str | None] = {
    "getent passwd vagrant": "vagrant:x:1000:1000::/home/vagrant:/bin/bash\n",
    "cat /home/vagrant/.ssh/authorized_keys": vagrant_key.PUBLIC + "\n",
    "stat -c %a %U": "700 vagrant\n600 vagrant\n",
    "id -un": "root\n",
    **{
        f"systemctl show cloud-{unit}.service": "LoadState=masked\n"
        for unit in ("init-main", "init-local", "init", "init-network", "config", "final")
    },
}

GIB = 1024**3
UNIT_FINE = (
    "LoadState=loaded\nConditionResult=yes\nExecMainStartTimestampMonotonic=12345\n"
    "Result=success\nExecMainStatus=0\n"
)

UNIT_FAILED = UNIT_FINE.replace("success", "exit-code").replace("Status=0", "Status=1")


def _volumes(**sizes: tuple[str, int]) -> str:
    rows = [
        {"lv_name": name.replace("_", "-"), "lv_attr": kind, "lv_size": str(size)}
        for name, (kind, size) in sizes.items()
    ]
    return json.dumps({"report": [{"lv": rows}]})


def _free(size: int) -> str:
    return json.dumps({"report": [{"vg": [{"vg_free": str(size)}]}]})


def _docker(driver: str, **status: str) -> str:
    return json.dumps(
        {
            "Driver": driver,
            "DriverStatus": [
                [name.replace("_", " ").replace("d type", "d_type"), value] for name, value in status.items()
            ],
        }
    )


ROOT = ("-wi-ao----", 3000 << 20)
UNIT = "systemctl show docker-storage-setup.service"
_SET_UP: dict[str, str | None] = {
    UNIT: UNIT_FINE,
    "findmnt -n -o SOURCE /sysroot": "/dev/mapper/atomicos-root\n",
    "lvs --noheadings": " atomicos\n",
}
# what a host of each profile says (tests/data/fedora/storage.yaml), and what it says when that is broken
STORAGE: dict[str, dict[str, str | None]] = {
    "devicemapper": (
        _SET_UP
        | {
            "lvs --reportformat": _volumes(root=ROOT, docker_pool=("twi-a-t---", 2 * GIB)),
            "vgs": _free(700 << 20),
            "docker info": _docker("devicemapper", Pool_Name="atomicos-docker--pool"),
        }
    ),
    "overlay2-volume": (
        _SET_UP
        | {
            "lvs --reportformat": _volumes(root=ROOT, docker_root_lv=("-wi-ao----", 400 * 4 << 20)),
            "vgs": _free(600 * 4 << 20),
            "findmnt -n -o SOURCE,FSTYPE -T /var/lib/docker": "/dev/mapper/atomicos-docker--root--lv xfs\n",
            "docker info": _docker("overlay2", Supports_d_type="true"),
        }
    ),
    "overlay2-root": (
        _SET_UP
        | {
            "lvs --reportformat": _volumes(root=("-wi-ao----", 5 * GIB)),
            "vgs": _free(0),
            "findmnt -b -n -o SIZE /sysroot": f"{5 * GIB - 10_000_000}\n",
            "findmnt -n -o SOURCE,FSTYPE -T": "/dev/mapper/atomicos-root[/ostree/deploy/x/var] xfs\n",
            "docker info": _docker("overlay2", Supports_d_type="true"),
        }
    ),
}
BROKEN_STORAGE: list[tuple[str, dict[str, str | None], str]] = [
    ("devicemapper", {UNIT: "LoadState=not-found\n"}, "is not-found: nothing sets"),
    (
        "devicemapper",
        {UNIT: UNIT_FAILED, "journalctl": "docker-storage-setup: ERROR: too small\nFailed\n"},
        "has failed .*ERROR: too small",
    ),
    (
        "devicemapper",
        {UNIT: UNIT_FINE.replace("=12345", "=0").replace("yes", "no")},
        "did not run: its condition did not hold",
    ),
    (
        "devicemapper",
        {"lvs --reportformat": _volumes(root=ROOT)},
        "has no thin pool docker-pool; it has root",
    ),
    (
        "devicemapper",
        {"lvs --reportformat": _volumes(docker_pool=("-wi-a-----", 2 * GIB))},
        "not an active thin pool",
    ),
    (
        "devicemapper",
        {"lvs --reportformat": _volumes(docker_pool=("twi-a-t---", GIB))},
        "less than container-storage-setup's MIN_DATA_SIZE",
    ),
    (
        "devicemapper",
        {"docker info": _docker("devicemapper", Data_loop_file="/var/lib/docker/x")},
        "loopback file",
    ),
    (
        "devicemapper",
        {"docker info": _docker("devicemapper", Pool_Name="docker-253:0-pool")},
        "not in docker-pool",
    ),
    ("devicemapper", {"docker info": _docker("overlay2")}, "'overlay2', not 'devicemapper'"),
    ("overlay2-volume", {"lvs --reportformat": _volumes(root=ROOT)}, "has no docker-root-lv"),
    ("overlay2-volume", {"vgs": _free(GIB)}, "not 40 % of"),
    (
        "overlay2-volume",
        {"findmnt -n -o SOURCE,FSTYPE -T /var/lib/docker": "/dev/mapper/atomicos-root xfs\n"},
        "lies on /dev/mapper/atomicos-root",
    ),
    (
        "overlay2-volume",
        {"findmnt -n -o SOURCE,FSTYPE -T /var/lib/docker": "/dev/mapper/atomicos-docker--root--lv ext4\n"},
        "is ext4, not xfs",
    ),
    ("overlay2-volume", {"docker info": _docker("overlay2", Supports_d_type="false")}, "d_type"),
    ("overlay2-root", {"vgs": _free(GIB)}, "root volume was not grown"),
    ("overlay2-root", {"findmnt -b -n -o SIZE /sysroot": f"{3 * GIB}\n"}, "was not grown with it"),
    (
        "overlay2-root",
        {"findmnt -n -o SOURCE,FSTYPE -T /var/lib/docker": "/dev/mapper/atomicos-docker xfs\n"},
        "not on the root volume",
    ),
    ("overlay2-root", {"docker info": _docker("vfs")}, "'vfs', not 'overlay2'"),
]


TRIAL = Trial(
    subject=Subject(artifact="a", disk=Path("/none"), format="raw", controller=Controller.VIRTIO),
    bench=Bench(
        firmware=Firmware.BIOS,
        accelerator=Accelerator(name="tcg", slowness=1, reason=""),
        cores=1,
        memory=1,
    ),
    promise=Promise(
        terms=Terms(login=Login.CLOUD_INIT, user="u", storage="s", remote="r", update_url="u"),
        commit="c",
        version="1",
        ref="r",
        host_kind="ostree",
    ),
    scope=Scope(),
    evidence=Path("/none"),
)


def trial(evidence: Path, **changed: Any) -> Trial:
    """Return a trial of nothing; each change goes to the record that has a field of that name."""
    made = replace(TRIAL, evidence=evidence)
    for name, value in changed.items():
        records = {part: getattr(made, part) for part in ("subject", "bench", "promise", "scope")}
        (part,) = [part for part, record in records.items() if hasattr(record, name)] or ["terms"]
        if part == "terms":
            terms = replace(made.promise.terms, **{name: value})
            made = replace(made, promise=replace(made.promise, terms=terms))
        else:
            made = replace(made, **{part: replace(records[part], **{name: value})})
    return made


def expected(**changed: Any) -> Expected:
    """Return what is expected of a healthy host, changed like `trial`."""
    own = {name: value for name, value in changed.items() if hasattr(EXPECTED, name)}
    promise = {name: value for name, value in changed.items() if name not in own and hasattr(PROMISE, name)}
    terms = {name: value for name, value in changed.items() if name not in (own | promise)}
    return replace(EXPECTED, promise=replace(PROMISE, terms=replace(TERMS, **terms), **promise), **own)


@dataclass
class FakeTransport:
    """Answers from a table: the longest beginning that fits. What is not in the table fails like a missing
    program.
    """

    answers: dict[str, str | None]
    ran: list[str] = field(default_factory=list)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        words = list(argv[3:]) if list(argv[:2]) == ["sudo", "-n"] else list(argv)
        line = " ".join(words)
        self.ran.append(line)
        fits = [beginning for beginning in self.answers if line.startswith(beginning)]
        said = self.answers[max(fits, key=len)] if fits else None
        if said is None:
            return Answer(
                status=2 if words[0] == "getent" else 1, output="", complaint=f"{words[0]}: no\n", seconds=0.0
            )
        return Answer(status=0, output=said, complaint="", seconds=0.0)


def host(**broken: str | None) -> Host:
    """Return a healthy host, changed by `broken`."""
    return Host(transport=FakeTransport(HEALTHY | broken), commands=OstreeHost(), slowness=0.0)


def broken_host(broken: dict[str, str | None]) -> Host:
    """Return a healthy host with these answers changed."""
    return Host(transport=FakeTransport(HEALTHY | broken), commands=OstreeHost(), slowness=0.0)


def stop(*deployments: Deployment, **changed: Any) -> Stop:
    """Return what a healthy host is found to be after a leg."""
    healthy = Stop(
        deployments=deployments,
        before=True,
        after=False,
        var=True,
        volume="kept",
        hostname=EXPECTED.hostname,
        machine_id="ab" * 16,
        script_runs=(1, 1),
        storage="vda",
        units={CONTAINER_UNIT: "active", SYSTEM_UNIT: "active"},
        failed_units=(),
    )
    return replace(healthy, **changed)


def deployment(commit: str, *, booted: bool = False, **changed: Any) -> Deployment:
    """Return a deployment of the demo's ref; its version is the beginning of its commit."""
    values: dict[str, Any] = {"version": commit[:2], "origin": REFSPEC} | changed
    return Deployment(commit=commit, booted=booted, **values)


NEXT, OLDER, SOFT = "ee" * 32, "0d" * 32, "5f" * 32
# what the initramfs of each release leaves: of the candidate's nothing
MARKS = {NEXT: "next", OLDER: "older"}
HEALTHY_STOPS = {
    "start": stop(deployment(COMMIT, booted=True)),
    "upgraded": stop(deployment(NEXT, booted=True), deployment(COMMIT)),
    "soft_rebooted": stop(deployment(SOFT, booted=True), deployment(COMMIT)),
    "rolled_back": stop(deployment(COMMIT, booted=True), deployment(NEXT)),
    "forward": stop(deployment(NEXT, booted=True), deployment(COMMIT)),
    "older_on_upgraded": stop(deployment(COMMIT, booted=True), deployment(NEXT)),
    "older_on_fresh": stop(deployment(OLDER, booted=True), deployment(COMMIT)),
    "from_previous": stop(deployment(COMMIT, booted=True, version="12.3"), deployment(OLDER)),
    "asleep": stop(deployment(OLDER, booted=True), deployment(COMMIT)),
    "awake": stop(deployment(COMMIT, booted=True, version="12.3"), deployment(OLDER)),
    "on_line_before": stop(deployment(OLDER, booted=True), deployment(COMMIT)),
    "from_line_before": stop(
        deployment(COMMIT, booted=True, version="12.3"), deployment(OLDER), deltas_read=("ab/cd/superblock",)
    ),
    "layered": stop(deployment(COMMIT, booted=True, requested=(PACKAGE,)), deployment(COMMIT)),
    "layered_upgraded": stop(
        deployment(NEXT, booted=True, requested=(PACKAGE,)), deployment(COMMIT, requested=(PACKAGE,))
    ),
    "unlayered": stop(deployment(NEXT, booted=True), deployment(NEXT, requested=(PACKAGE,))),
}
HEALTHY_STOPS = {
    name: replace(each, initramfs=MARKS.get(each.booted.commit, "")) for name, each in HEALTHY_STOPS.items()
}
SURVIVAL = Survival(
    looked_at=16,
    seed=1,
    cut="at the flush 7",
    menus={},
    booted=COMMIT,
    again=Answer(status=0, output="", complaint="", seconds=0.0),
    next=NEXT,
)
FALL = Fall(before=deployment(COMMIT, booted=True), after=deployment(COMMIT, booted=True), boots=4)
REFUSED = Answer(
    status=1,
    output="",
    complaint="error: Commit x: GPG verification enabled, but no signatures found",
    seconds=0.0,
)


class FakeJourney:
    """A journey that is over: its stops are told."""

    def __init__(
        self,
        host: Host,
        stops: Mapping[str, Stop],
        *,
        refusal: Answer = REFUSED,
        problems: Mapping[str, str] | None = None,
    ) -> None:
        self.host, self.expected, self._stops, self._refusal, self.problems = (
            host,
            EXPECTED,
            dict(stops),
            refusal,
            dict(problems or {}),
        )
        self.deployed, self.survival, self.fall = False, SURVIVAL, FALL
        self.same_kernel = True
        release = {
            name: ServedRelease(commit=commit, version=commit[:2], initramfs=MARKS.get(commit, ""))
            for name, commit in (
                *(("next", NEXT), ("older", OLDER), ("candidate", COMMIT)),
                ("same_kernel", SOFT),
            )
        }
        older = release["older"]
        earlier = Earlier(slept={"12-1": older}, line=older, deltas={OLDER: Path("deltas")})
        self.releases = SimpleNamespace(**release, lost="", earlier=earlier, line=older)

    def __getattr__(self, name: str) -> Callable[..., Stop]:
        return lambda *_: self._stops[name]

    def refused(self) -> Offer:
        here = (deployment(COMMIT, booted=True),)
        return Offer(
            answer=self._refusal, before=here, after=here if not self.deployed else (deployment(NEXT), *here)
        )

    def cut_off(self) -> Survival:
        return self.survival

    def fallen_back(self) -> Fall:
        return self.fall

    def soft_rebooted(self) -> SoftReboot:
        return SoftReboot(same_kernel=self.same_kernel, stop=self._stops["soft_rebooted"])

    def found(self, leg: Callable[[], Stop]) -> Stop:
        return leg()


@dataclass
class FakeSandbox:
    """A place to run programs in that only remembers: `answers` are files that can be read, a script with
    `fails` in it fails.
    """

    answers: dict[str, bytes] = field(default_factory=dict)
    fails: str = ""
    commands: list[tuple[str, ...]] = field(default_factory=list)
    ran: list[tuple[str, ...]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    files: dict[PurePosixPath, File] = field(default_factory=dict)

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        self.commands += [tuple(str(word) for word in argv) for argv in commands]
        return ""

    def run_script(self, argv: Argv, script: str, *, root: PurePosixPath | None = None) -> None:
        self.ran.append(tuple(str(word) for word in argv))
        self.scripts.append(script)
        if self.fails and self.fails in (script, *self.ran[-1]):
            raise BuildError("it failed")

    def write(self, files: Mapping[PurePosixPath, File]) -> None:
        self.files.update(files)

    def read(self, path: PurePosixPath) -> bytes:
        if str(path) not in self.answers:
            raise BuildError(f"no {path}")
        return self.answers[str(path)]
