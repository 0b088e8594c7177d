"""A host comes to this release from afar: from a release that it has slept since, and from the release line
before.
"""

from imagebuild.smoke.criterion import Asks, Group, Trait, criterion
from imagebuild.smoke.journey import Journey
from imagebuild.smoke.stops import Stop, arrived, other_kernel, without_delta


@criterion(
    group=Group.UPGRADES,
    about="A host that has slept since an older release (each has a cell) upgrades to this one at once.",
    asks=Asks.SLEPT_JOURNEY,
    applies_to="release lines whose configuration names more than one in `previous`",
    needs=(Trait.OLDER,),
)
def test_upgrades_from_an_older_release(slept_journey: Journey, older: str | None) -> None:
    release = slept_journey.releases.earlier.slept[older or ""]
    asleep = slept_journey.found(lambda: slept_journey.asleep(release))
    assert asleep.booted.commit == release.commit, (
        f"deployed {release.version}, but {asleep.booted.version} ({asleep.booted.commit}) runs"
    )
    _came(slept_journey, slept_journey.awake(release), release.version)


@criterion(
    group=Group.UPGRADES,
    about="A host of the release line before switches to this line's ref, by the static delta.",
    asks=Asks.LINE_JOURNEY,
    applies_to="release lines with `publish.previous_major`, where that ref was released",
    needs=(Trait.LINE,),
)
def test_upgrades_from_the_release_line_before(line_journey: Journey) -> None:
    line = line_journey.releases.line
    assert line is not None
    before = line_journey.found(lambda: line_journey.on_line_before(line))
    assert before.booted.commit == line.commit, (
        f"switched to {line.ref}, but {before.booted.version} ({before.booted.commit}) runs"
    )
    stop = line_journey.from_line_before(line)
    _came(line_journey, stop, f"{line.version} of {line.ref}")
    missed = without_delta(stop, there=line.commit in line_journey.releases.earlier.deltas)
    assert missed is None, missed


def _came(journey: Journey, stop: Stop, origin: str) -> None:
    promise = journey.expected.promise
    wrong = arrived(stop, promise.commit, promise.version, promise.refspec)
    assert wrong is None, f"coming from {origin}, {wrong}"
    assert (other := other_kernel(stop, journey.releases.candidate)) is None, other
    assert not stop.failed_units, (
        f"coming from {origin}, these units have failed: {', '.join(stop.failed_units)}"
    )
