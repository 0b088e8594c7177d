"""Upgrades come from where the release says, and their signatures are checked: never from the place the host
was installed from.
"""

from imagebuild.smoke.criterion import Group, criterion
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host


@criterion(
    group=Group.UPGRADES,
    about="Upgrades come from the release's own remote, and are checked there.",
)
def test_upgrades_come_from_the_releases_remote(host: Host, expected: Expected) -> None:
    name = expected.promise.refspec.partition(":")[0]
    remote = host.remote(name)
    assert remote, f"the host has no remote {name}: no upgrade will ever be found"
    assert remote.get("url") == expected.terms.update_url, (
        f"the remote {name} is {remote.get('url')!r}, not {expected.terms.update_url!r}"
    )
    if not expected.terms.update_verify:
        return
    # ostree(5), repo-config: signatures are checked unless that is switched off
    assert remote.get("gpg-verify", "true") == "true", (
        f"the signatures of upgrades from {name} are not checked"
    )
    key = remote.get("gpgkeypath", "")
    if key:
        assert host.run("test", "-s", key).status == 0, (
            f"the key {key} that upgrades are checked with is not there"
        )
