"""The host takes what its release line signs, with the keys it came with: a tree with a wrong key would
refuse every later upgrade.
"""

from collections.abc import Callable

from imagebuild.smoke.criterion import Group, Trait, criterion
from imagebuild.smoke.host.errors import NotApplicableError, NotTestedError
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host
from imagebuild.tools.ssh import Answer


@criterion(
    group=Group.UPGRADES,
    about="The keys that came with the image verify the released commit.",
    applies_to="release lines whose hosts check signatures",
    needs=(Trait.SIGNATURES,),
)
def test_the_images_own_keys_verify_the_release(
    host: Host, expected: Expected, own_pull: Callable[[], Answer]
) -> None:
    name = expected.promise.refspec.partition(":")[0]
    remote = host.remote(name)
    assert remote, f"the host has no remote {name}: whatever keys it has, they are asked for no upgrade"
    # ostree.repo-config(5): signatures are checked unless that is switched off
    if remote.get("gpg-verify", "true") != "true":
        if expected.terms.update_verify:
            raise NotTestedError(
                f"the host checks no signatures of upgrades from {name}, which is a failure of its own"
            )
        raise NotApplicableError(
            "this release line's hosts do not check signatures (its remote says so, as released)"
        )
    answer = own_pull()
    said = " ".join((answer.complaint or answer.output).split())[-500:]
    assert answer.status == 0, (
        "with the keys it came with, the host refuses the released commit itself, and would every later one:"
        f" {said}"
    )
