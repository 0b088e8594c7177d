"""What cloud-init has done on the host."""

import itertools
import json
import time

from imagebuild.kinds import Login
from imagebuild.smoke.boot import BOOT_SECONDS, POLL_SECONDS
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.units import Units

# cloud-init.service has been cloud-init-network.service since cloud-init 24.3, which runs all stages from
# cloud-init-main.service
UNITS = (
    "cloud-init-main.service",
    "cloud-init-local.service",
    "cloud-init.service",
    "cloud-init-network.service",
    "cloud-config.service",
    "cloud-final.service",
)


class CloudInit(Units):
    """cloud-init's result, where it is at work."""

    def wait_for_cloud_init(self) -> dict[str, object]:
        """Return cloud-init's result.json (`v1`), which appears when its final stage is over. Fails when it
        does not appear.
        """
        over = self.patience(BOOT_SECONDS * self.slowness)
        for asked in itertools.count():
            answer = self.run("cat", "/run/cloud-init/result.json")
            if answer.status == 0 and answer.output.strip():
                break
            stage = self.unit("cloud-final.service", "ActiveState", "UnitFileState", "LoadState")
            assert stage.get("LoadState") != "masked", "cloud-final.service is masked: cloud-init never ends"
            assert stage.get("ActiveState") != "failed", "cloud-final.service has failed"
            assert over(asked) is None, "cloud-init did not write /run/cloud-init/result.json"
            time.sleep(POLL_SECONDS * min(self.slowness, 3))
        result: dict[str, object] = json.loads(answer.output)["v1"]
        return result

    def has_cloud_init(self, expected: Expected) -> None:
        """Let cloud-init's criteria go on only where it is at work; a Vagrant box must have it masked, which
        is checked.
        """
        if expected.terms.login is Login.VAGRANT:
            loaded = [
                unit
                for unit in UNITS
                if self.unit(unit, "LoadState").get("LoadState") not in ("masked", "not-found")
            ]
            assert not loaded, (
                f"a Vagrant box must not run cloud-init, but these are not masked: {', '.join(loaded)}"
            )
            raise NotApplicableError("a Vagrant box: cloud-init is masked (checked)")
