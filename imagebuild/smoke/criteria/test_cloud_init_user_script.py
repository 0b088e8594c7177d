"""cloud-init runs the user's script and the commands of a cloud-config, and ends without errors; a second
boot does not run them again.
"""

from imagebuild.smoke.criterion import Asks, Group, Trait, criterion
from imagebuild.smoke.host.expected import RUNCMD_LOG, SCRIPT_LOG, Expected
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.journey import Journey


@criterion(
    group=Group.CLOUD_INIT,
    about="cloud-init runs the user's script and commands once, without errors.",
    applies_to="images with cloud-init (a Vagrant box must have it masked)",
    needs=(Trait.CLOUD_INIT,),
)
def test_cloud_init_runs_the_user_script(host: Host, expected: Expected) -> None:
    host.has_cloud_init(expected)
    result = host.wait_for_cloud_init()
    for kind, place in (("script", SCRIPT_LOG), ("runcmd", RUNCMD_LOG)):
        said = host.read(place)
        assert said is not None, f"the user's {kind} did not run: it left no file"
        assert said.split() == [expected.script_marker], (
            f"the user's {kind} left {said.split()}, not one {expected.script_marker!r}"
        )
    assert result.get("errors") == [], f"cloud-init reports errors: {result.get('errors')}"


@criterion(
    group=Group.CLOUD_INIT,
    about="A second boot does not run the user's script and commands again.",
    asks=Asks.JOURNEY,
    applies_to="images with cloud-init (a Vagrant box must have it masked)",
    needs=(Trait.CLOUD_INIT,),
)
def test_cloud_init_does_not_run_scripts_again(journey: Journey) -> None:
    journey.host.has_cloud_init(journey.expected)
    stop = journey.found(journey.upgraded)
    assert stop.script_runs == (
        1,
        1,
    ), f"after a second boot the user's script and runcmd have run {stop.script_runs} times"
    assert stop.hostname == journey.expected.hostname, (
        f"after a second boot the host calls itself {stop.hostname!r}"
    )
