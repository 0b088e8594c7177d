"""The order of steps and the choice of workers waste little, on any number of workers."""

import pytest

from tests.bench.cluster import CORES, LEAST_EFFICIENCY, bound_of, nightly, schedule


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_a_recorded_nightly_is_scheduled_near_its_bound(workers: int) -> None:
    """6 refs on 3 architectures; `make bench` measures it with all that it costs."""
    goals, seconds = nightly(1.0)
    assert len(seconds) > 900
    bound = bound_of(goals, seconds, workers * CORES)
    assert bound / schedule(goals, seconds, workers) > LEAST_EFFICIENCY
