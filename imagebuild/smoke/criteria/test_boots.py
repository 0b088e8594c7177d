"""The host boots into exactly the released commit."""

import pytest

from imagebuild.smoke.host import Expected, Host, NotTestedError, RigError
from imagebuild.smoke.rig import Boot


@pytest.mark.boots
def test_artifact_boots(boot: Boot) -> None:
    if boot.rig:
        raise RigError(boot.problem)
    assert not boot.problem, boot.problem


@pytest.mark.boots
def test_boots_the_released_commit(host: Host, expected: Expected) -> None:
    if not expected.commit_given:
        raise NotTestedError("nobody said which commit the image should hold (--commit)")
    deployment = host.booted()
    assert deployment.commit == expected.commit, (
        f"booted {deployment.commit or 'no deployment'}, released {expected.commit}"
    )
    assert deployment.version == expected.version, (
        f"booted version {deployment.version!r}, released {expected.version!r}"
    )
    assert deployment.origin.removeprefix("ostree://") == expected.refspec, (
        f"upgrades would come from {deployment.origin!r}, not {expected.refspec!r}"
    )
