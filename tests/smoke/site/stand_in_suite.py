"""A plugin of pytest: the artifact's guests are a stand-in, for all criteria that ask for the host."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from imagebuild.smoke.host.words import Boot
from tests.smoke.site.namespaced_guest import guest
from tests.smoke.trials import EXPECTED


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """What is asked of a Suite where nothing goes wrong; each own boot is told in the criterion's log."""
    place = tmp_path_factory.mktemp("suite")
    with guest(place / "guest", place / "log") as (_, host):
        boot = Boot(host=host, expected=EXPECTED, problem=None, phases={})
        yield SimpleNamespace(
            first=(None, boot),
            own_boot=lambda _name: host,
            restored=False,
            starved=lambda: None,
            take_notes=lambda: "",
            screenshot=lambda _name: None,
            access=lambda: None,
        )
