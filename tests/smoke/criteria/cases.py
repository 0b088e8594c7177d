"""What a table of broken hosts is made of, and what a healthy host answers to criteria on the way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.served import PACKAGE
from imagebuild.smoke.stops import Stop
from imagebuild.tools.rpm import BY_POST, IN_DATA, IN_ETC, Package
from tests.smoke.healthy_host import broken_host
from tests.smoke.told_journey import FALL, HEALTHY_STOPS, REFUSED, SURVIVAL, FakeJourney

Answers: TypeAlias = Mapping[str, str | None]


@dataclass(frozen=True, kw_only=True)
class OnHost:
    """A criterion on a settled host, and for each broken one what it answers otherwise and why that fails."""

    run: Callable[[Host, Expected], None]
    broken: Sequence[tuple[Answers, str]]


@dataclass(frozen=True, kw_only=True)
class OnJourney:
    """A criterion on a journey, and for each broken host what its stops were (`journey_of`) and why that
    fails.
    """

    run: Callable[[Any], None]
    broken: Sequence[tuple[dict[str, Any], str]]


Case: TypeAlias = OnHost | OnJourney
PARTS = Package(PACKAGE)
# of what was layered nothing is left
GONE: dict[str, str | None] = dict.fromkeys(
    (f"getent passwd {PARTS.user}", f"getent group {PARTS.user}", "sh -c command -v", "test -e")
)
ON_A_FEDORA: dict[str, str | None] = {
    PACKAGE: "layered\n",
    "rpm -q": "x\n",
    # greenboot
    "systemctl cat": "[Unit]\n",
    **{f"getent {database} {PARTS.user}": f"{PARTS.user}:x:990:\n" for database in ("passwd", "group")},
    f"cat {PARTS.etc}": f"{IN_ETC}\n",
    f"cat {PARTS.needed}": f"{IN_DATA}\n",
    f"cat {PARTS.mark}": f"{BY_POST}\n",
    "atomic containers list": '[{"container_name": "imagebuild-system"}]',
}


def journey_of(broken: dict[str, Any]) -> Any:
    """Return a journey that is over, of a host that is broken in that way."""
    stops = {
        name: broken[name] if isinstance(broken.get(name), Stop) else replace(one, **broken.get(name, {}))
        for name, one in HEALTHY_STOPS.items()
    }
    bare: dict[str, str | None] = {"sh -c command -v": None}
    answers = ON_A_FEDORA | (broken.get("answers") or bare)
    journey = FakeJourney(
        broken_host(answers), stops, refusal=broken.get("refusal", REFUSED), problems=broken.get("problems")
    )
    journey.fall = replace(FALL, **broken.get("fall", {}))
    journey.survival = replace(SURVIVAL, **broken.get("survival", {}))
    journey.same_kernel = bool(broken.get("same_kernel", True))
    journey.deployed = bool(broken.get("deployed"))
    journey.releases.lost = broken.get("lost")
    return journey
