"""The host boots into exactly the released commit."""

from imagebuild.smoke.criterion import Group, criterion
from imagebuild.smoke.host.errors import NotTestedError, RigError
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Boot, Host


@criterion(
    group=Group.BOOTS,
    about="The artifact boots and answers by ssh.",
    boots=True,
)
def test_artifact_boots(boot: Boot) -> None:
    if boot.rig and boot.problem is not None:
        raise RigError(boot.problem)
    assert boot.problem is None, boot.problem


@criterion(
    group=Group.BOOTS,
    about="The host boots exactly the released commit and version, and follows the released ref.",
    boots=True,
)
def test_boots_the_released_commit(host: Host, expected: Expected) -> None:
    if not expected.promise.commit_given:
        raise NotTestedError("nobody said which commit the image should hold (--commit)")
    deployment = host.booted()
    assert deployment.commit == expected.promise.commit, (
        f"booted {deployment.commit or 'no deployment'}, released {expected.promise.commit}"
    )
    assert deployment.version == expected.promise.version, (
        f"booted version {deployment.version!r}, released {expected.promise.version!r}"
    )
    assert deployment.origin.removeprefix("ostree://") == expected.promise.refspec, (
        f"upgrades would come from {deployment.origin!r}, not {expected.promise.refspec!r}"
    )
