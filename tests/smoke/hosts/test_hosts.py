"""What each kind of host is told, and how what it says is understood (rpm-ostree 2018.7,
tests/data/fedora/ostree-2022.7-measured.csv).
"""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from imagebuild.smoke.host.words import Host
from imagebuild.smoke.hosts.commands import HostCommands, UnavailableError, booted
from imagebuild.smoke.hosts.ostree import OstreeHost
from imagebuild.smoke.hosts.registry import HOSTS, recognise
from imagebuild.smoke.hosts.rpm_ostree import ATOMIC, RpmOstreeHost
from imagebuild.tools.ssh import Answer
from tests.smoke.healthy_host import BOOT_LINK, DEPLOYED, HEALTHY, FakeTransport, broken_host
from tests.smoke.told_journey import NEXT
from tests.smoke.trials import COMMIT

REFSPEC = "fedora-atomic:fedora/26/x86_64/atomic-host"
# the keys of rpm-ostree 2017.7; newer ones have more
DEPLOYED_2017 = {
    "booted": True,
    "checksum": COMMIT,
    "version": "26.91",
    "origin": REFSPEC,
    "packages": [],
    "osname": "fedora-atomic",
    "serial": 0,
}
LAYERED = {
    **DEPLOYED_2017,
    "checksum": "ee" * 32,
    "base-checksum": COMMIT,
    "packages": ["wget"],
    "requested-packages": ["wget"],
}
CONTAINER = {
    "booted": True,
    "checksum": COMMIT,
    "version": "41.1",
    "container-image-reference": "ostree-unverified-registry:quay.io/x",
    "origin": None,
}
TODAY = {
    **DEPLOYED_2017,
    "origin": f"ostree://{REFSPEC}",
    "staged": False,
    "pinned": False,
    "requested-packages": [],
    "base-commit-meta": {},
}


class Scripted(FakeTransport):
    """Answers a command with one answer after the other; the last one stays."""

    def __init__(
        self, scripts: dict[str, Sequence[Answer]], answers: dict[str, str | None] | None = None
    ) -> None:
        super().__init__(dict(answers or {}))
        self._scripts = {line: list(script) for line, script in scripts.items()}

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        line = " ".join(argv[3:])
        for beginning, script in self._scripts.items():
            if line.startswith(beginning):
                self.ran.append(line)
                return script.pop(0) if len(script) > 1 else script[0]
        return super().run(argv, stdin=stdin, timeout=timeout)


def says(status: int, text: str = "") -> Answer:
    return Answer(
        status=status, output=text if status == 0 else "", complaint="" if status == 0 else text, seconds=0.0
    )


def host_of(transport: FakeTransport, commands: HostCommands) -> Host:
    return Host(transport=transport, commands=commands, slowness=0.0)


def status(*deployments: dict[str, Any]) -> Answer:
    return says(0, json.dumps({"deployments": deployments, "transaction": None}))


@pytest.mark.parametrize(
    ("found", "origin", "requested"),
    [
        (DEPLOYED_2017, REFSPEC, ()),
        (LAYERED, REFSPEC, ("wget",)),
        (TODAY, REFSPEC, ()),
        (CONTAINER, "ostree-unverified-registry:quay.io/x", ()),
    ],
)
def test_every_age_of_status_is_understood(
    found: dict[str, Any], origin: str, requested: tuple[str, ...]
) -> None:
    other = {"booted": False, "checksum": "dd" * 32}
    fedora = host_of(Scripted({"rpm-ostree status --json": [status(other, found)]}), RpmOstreeHost())
    here = booted(fedora.commands.deployments(fedora))
    assert (here.commit, here.origin, here.requested) == (COMMIT, origin, requested)
    assert fedora.commands.deployments(fedora)[0].commit == "dd" * 32


def test_a_daemon_that_is_starting_is_asked_again() -> None:
    transport = Scripted(
        {"rpm-ostree status --json": [says(1, "error: Timeout was reached"), status(DEPLOYED_2017)]}
    )
    fedora = host_of(transport, RpmOstreeHost())
    assert fedora.booted().commit == COMMIT
    assert len(transport.ran) == 2


@pytest.mark.parametrize(
    ("commands", "line"), [(RpmOstreeHost(), "rpm-ostree upgrade --"), (ATOMIC, "atomic host upgrade -- --")]
)
def test_nothing_to_upgrade_to_is_77(commands: RpmOstreeHost, line: str) -> None:
    transport = Scripted({line + "upgrade-unchanged-exit-77": [says(77, "No upgrade available.")]})
    assert commands.upgrade(host_of(transport, commands)).status == 77


@pytest.mark.parametrize("commands", [RpmOstreeHost(), ATOMIC])
def test_a_deploy_that_changes_nothing_fails(commands: RpmOstreeHost) -> None:
    transport = Scripted({" ".join((*commands.client, "deploy", "26.91")): [says(77, "No change.")]})
    with pytest.raises(AssertionError, match="found nothing to do"):
        commands.deploy(host_of(transport, commands), version="26.91")


def test_what_rpm_ostree_refuses_is_said() -> None:
    transport = Scripted({"rpm-ostree install": [says(1, "error: No package matches 'x'")]})
    with pytest.raises(AssertionError, match="No package matches 'x'"):
        RpmOstreeHost().install(host_of(transport, RpmOstreeHost()), "x")


def test_the_table_has_both_ways_where_atomic_is() -> None:
    ways = {name: [way.name for way in record.ways(atomic=True)] for name, record in HOSTS.items()}
    assert ways == {"rpm-ostree": ["rpm-ostree", "atomic host"], "ostree": ["ostree admin"]}
    assert [way.name for way in HOSTS["rpm-ostree"].ways()] == ["rpm-ostree"]


@pytest.mark.parametrize(
    ("programs", "kind"),
    [
        (("usr/bin/ostree", "usr/bin/rpm-ostree"), "rpm-ostree"),
        (("usr/bin/ostree",), "ostree"),
        ((), "ostree"),
    ],
)
def test_a_kind_is_told_by_the_first_program_that_is_there(programs: tuple[str, ...], kind: str) -> None:
    assert recognise(lambda path: path in programs).name == kind


# --- plain ostree -------------------------------------------------------------------------------------------

NEXT_LINK, NEXT_PLACE = BOOT_LINK.replace("/0", "/1"), DEPLOYED.replace(COMMIT, NEXT)
UPGRADED: dict[str, str | None] = {
    "sh -c cat /boot/loader/entries/": (
        f"version 1\noptions a ostree={BOOT_LINK}\nversion 2\noptions b ostree={NEXT_LINK}\n"
    ),
    "readlink -f": f"{NEXT_PLACE}\n{DEPLOYED}\n",
    f"readlink -f /sysroot{BOOT_LINK}": None,
    f"cat {NEXT_PLACE}.origin": HEALTHY[f"cat {DEPLOYED}.origin"],
}


def debian(transport: FakeTransport) -> Host:
    return host_of(transport, OstreeHost())


def test_the_highest_entry_is_the_next_boots() -> None:
    answers = HEALTHY | UPGRADED
    del answers[f"readlink -f /sysroot{BOOT_LINK}"]
    found = OstreeHost().deployments(debian(FakeTransport(answers)))
    assert [(each.commit, each.booted) for each in found] == [(NEXT, False), (COMMIT, True)]


def test_an_upgrade_that_changes_nothing_is_77_although_ostree_says_0() -> None:
    transport = Scripted({"ostree admin upgrade": [says(0, "No update available.")]}, HEALTHY)
    assert OstreeHost().upgrade(debian(transport)).status == 77


def test_a_refused_upgrade_is_told() -> None:
    transport = Scripted(
        {"ostree admin upgrade": [says(1, "error: GPG verification enabled, but no signatures found")]},
        HEALTHY,
    )
    assert OstreeHost().upgrade(debian(transport)).status == 1


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("2022.7", "python3 -"),
        ("2023.6", "ostree admin set-default 1"),
        ("2026.4", "ostree admin set-default 1"),
    ],
)
def test_a_rollback_never_deploys_a_checksum(version: str, told: str) -> None:
    transport = FakeTransport(
        {
            "ostree --version": f"libostree:\n Version: '{version}'\n",
            "python3 -": "",
            "ostree admin set-default": "",
        }
    )
    OstreeHost().rollback(debian(transport))
    assert transport.ran[-1] == told
    assert not [line for line in transport.ran if line.startswith("ostree admin deploy")]


def test_an_older_version_is_found_in_the_history() -> None:
    ref = "debian-atomic:debian/12/x86_64/atomic-host"
    show = "ostree --repo=/sysroot/ostree/repo show --print-metadata-key=version"
    answers = HEALTHY | {
        "ostree --repo=/sysroot/ostree/repo pull": "",
        f"ostree --repo=/sysroot/ostree/repo rev-parse {ref}^": "b1\n",
        f"ostree --repo=/sysroot/ostree/repo rev-parse {ref}^^": "a1\n",
        f"{show} b1": "'12.2'\n",
        f"{show} a1": "'12.1'\n",
        "ostree admin upgrade": "",
    }
    transport = FakeTransport(answers)
    OstreeHost().deploy(debian(transport), version="12.1")
    assert transport.ran[-1] == "ostree admin upgrade --override-commit=a1 --allow-downgrade"


def test_a_version_that_is_not_there_is_said() -> None:
    answers = HEALTHY | {
        "ostree --repo=/sysroot/ostree/repo pull": "",
        "ostree --repo=/sysroot/ostree/repo rev-parse": "b1\n",
    }
    with pytest.raises(AssertionError, match=r"has no version 11\.1"):
        OstreeHost().deploy(debian(FakeTransport(answers)), version="11.1")


def test_there_is_no_layering() -> None:
    for verb in (OstreeHost().install, OstreeHost().uninstall):
        with pytest.raises(UnavailableError, match="cannot layer packages: wget"):
            verb(debian(FakeTransport({})), "wget")


# ostree 2026.4, ot-admin-builtin-status.c, deployment_write_json: the keys that are read here, and some
STATUS = {
    "deployments": [
        {"checksum": "f" * 64, "stateroot": "os", "serial": 0, "index": 0, "booted": False, "staged": True},
        {"checksum": COMMIT, "stateroot": "os", "serial": 1, "index": 1, "booted": True, "staged": False},
    ]
}


def test_below_an_overlay_ostree_itself_says_what_runs() -> None:
    """/ is no deployment's directory there, and the kernel's link is an older one after a soft reboot."""
    place = f"/sysroot/ostree/deploy/os/deploy/{COMMIT}.1"
    composefs = {
        "sh -c stat -L": f"9:1 /\n1:2 {place}\n",
        "cat /proc/cmdline": "root=UUID=x ostree=/ostree/boot.0/os/gone/0\n",
        f"readlink -f /sysroot{BOOT_LINK}": f"{place}\n",
        f"cat {place}.origin": "[origin]\nrefspec=r:b\n",
    }
    said = broken_host({**composefs, "ostree admin status --json": json.dumps(STATUS)})
    assert said.booted().commit == COMMIT
    unknown = broken_host({**composefs, "ostree admin status --json": json.dumps({"deployments": []})})
    assert unknown.booted().commit == ""
    # before 2025.3 there is the kernel's link only
    older = {"readlink -f /sysroot/ostree/boot.0/os/gone/0": f"{place}\n"}
    assert broken_host({**composefs, **older}).booted().commit == COMMIT
