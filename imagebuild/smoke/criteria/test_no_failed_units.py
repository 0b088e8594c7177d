"""No unit has failed, once the boot is over."""

import pytest

from imagebuild.smoke.container_units import TEST_UNITS
from imagebuild.smoke.host import Expected, Host


@pytest.mark.boots
def test_no_unit_has_failed(host: Host, expected: Expected) -> None:
    failed = [
        unit for unit in host.failed_units() if unit not in (*expected.allowed_failed_units, *TEST_UNITS)
    ]
    assert not failed, f"these units have failed: {', '.join(failed)}"
