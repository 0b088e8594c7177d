"""One cluster for all tests that break nothing of it: a head and two workers."""

from collections.abc import Iterator

import pytest

from tests.cluster.lab import Lab, lab


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("cluster")) as made:
        made.start_head(dashboard=0)
        made.start_worker("one", wait=False)
        made.start_worker("two")
        made.wait_for("one")
        yield made
