"""No unit has failed, once the boot is over."""

import pytest

from imagebuild.guest import Expected, Host


@pytest.mark.boots
def test_no_unit_has_failed(host: Host, expected: Expected) -> None:
    failed = [unit for unit in host.failed_units() if unit not in expected.allowed_failed_units]
    assert not failed, f"these units have failed: {', '.join(failed)}"
