"""What counts boots on a host is recognised; without it, falling back is not asked for."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from imagebuild.smoke.host.errors import NotApplicableError
from tests.smoke.criteria.cases import Answers
from tests.smoke.criteria.tables import ON_JOURNEY
from tests.smoke.healthy_host import broken_host
from tests.smoke.told_journey import HEALTHY_STOPS, FakeJourney

MENU, SETTER, ENTRIES = (
    "sh -c cat /boot/loader/grub.cfg",
    "sh -c grep -rlsw boot_counter",
    "sh -c ls /boot/loader/entries",
)
# none of it
BARE: dict[str, str | None] = dict.fromkeys(("systemctl cat", MENU, SETTER, ENTRIES))
# grub2 2.06 of Fedora 38, util/grub.d/08_fallback_counting.in
COUNTING = 'if [ -n "${boot_counter}" -a "${boot_success}" = "0" ]; then\n'


@pytest.mark.parametrize(
    ("answers", "counter"),
    [
        ({"systemctl cat": "[Unit]\n"}, "greenboot"),
        ({MENU: COUNTING, SETTER: "/usr/libexec/x\n"}, "GRUB"),
        ({ENTRIES: "ostree-2+3.conf\n"}, "systemd-boot"),
        # after a good boot nothing is left of the count but what libostree was told (the same command)
        ({MENU: COUNTING, ENTRIES: "3\n"}, "systemd-boot"),
    ],
)
def test_what_counts_boots_is_recognised(answers: Answers, counter: str) -> None:
    assert broken_host({**BARE, **answers}).boot_counter() == counter


@pytest.mark.parametrize("answers", [{}, {MENU: COUNTING}])
def test_without_a_counter_nothing_falls_back(answers: Answers) -> None:
    journey: Any = FakeJourney(broken_host({**BARE, **answers}), HEALTHY_STOPS)
    with pytest.raises(NotApplicableError, match="nothing in this tree counts boots"):
        ON_JOURNEY["falls-back"].run(journey)


@dataclass
class Power:
    """A machine whose new release does not come up so many times."""

    failures: int
    boots: list[str] = field(default_factory=list)

    def restart(self, name: str) -> str | None:
        self.boots.append(name)
        return "the guest asked for a reboot" if len(self.boots) <= self.failures else None

    def fatal(self) -> str | None:
        return None


@pytest.mark.parametrize("failures", [0, 3])
def test_a_host_is_booted_until_it_is_up(failures: int) -> None:
    machine = broken_host({"systemctl reboot": ""})
    machine.power = Power(failures)
    assert machine.reboot_until_up("fallback", 6) == failures + 1
    assert machine.power.boots == [f"fallback-{number}" for number in range(1, failures + 2)]


def test_a_host_that_never_comes_up_is_given_up() -> None:
    machine = broken_host({"systemctl reboot": ""})
    machine.power = Power(9)
    with pytest.raises(
        AssertionError, match=r"after 6 boots \(fallback\) the host is not up: the guest asked"
    ):
        machine.reboot_until_up("fallback", 6)
