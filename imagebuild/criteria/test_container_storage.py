"""Container storage is set up as the release's profile says."""

from imagebuild.guest import Expected, Host


def test_container_storage_is_set_up(host: Host, expected: Expected) -> None:
    problem = host.storage_problem(expected.storage)
    assert not problem, f"storage profile {expected.storage}: {problem}"
