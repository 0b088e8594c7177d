"""No unit has failed, once the boot is over."""

from imagebuild.smoke.container_units import TEST_UNITS
from imagebuild.smoke.criterion import Group, criterion
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host


@criterion(
    group=Group.BOOTS,
    about="No unit has failed once the boot is over.",
    boots=True,
)
def test_no_unit_has_failed(host: Host, expected: Expected) -> None:
    failed = [
        unit
        for unit in host.failed_units()
        if unit not in (*expected.terms.allowed_failed_units, *TEST_UNITS)
    ]
    assert not failed, f"these units have failed: {', '.join(failed)}"
