"""cloud-init runs the user's script, and ends without errors."""

from imagebuild.guest import Expected, Host


def test_cloud_init_runs_the_user_script(host: Host, expected: Expected) -> None:
    host.has_cloud_init(expected)
    result = host.wait_for_cloud_init()
    said = host.read("/var/tmp/imagebuild-user-script")
    assert said is not None, "the user's script did not run: it left no file"
    assert said.strip() == expected.script_marker, f"the user's script left {said.strip()!r}, not {expected.script_marker!r}"
    assert result.get("errors") == [], f"cloud-init reports errors: {result.get('errors')}"
