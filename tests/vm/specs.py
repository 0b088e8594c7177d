"""What a faulty image is tested by."""

from imagebuild.kinds import Firmware, Login
from imagebuild.stages.smoke import SmokeSpec
from tests.vm.wiring import Lab


def spec_of(lab: Lab) -> SmokeSpec:
    """What the pipeline asks of the cloud image under UEFI; without a second try: a fault is no chance."""
    tree = lab.settings.tree
    return SmokeSpec(
        firmware=Firmware.UEFI,
        login=Login.CLOUD_INIT,
        storage=lab.settings.storage,
        remote=tree.remote,
        update_url=tree.update_url,
        guest=lab.settings.smoke.model_copy(update={"tries": 1}),
        why_no_previous="a test",
    )
