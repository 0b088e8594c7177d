"""cloud-init sets the hostname."""

from imagebuild.smoke.criterion import Group, Trait, criterion
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host


@criterion(
    group=Group.CLOUD_INIT,
    about="cloud-init sets the host name, for later boots as well.",
    applies_to="images with cloud-init (a Vagrant box must have it masked)",
    needs=(Trait.CLOUD_INIT,),
)
def test_cloud_init_sets_the_hostname(host: Host, expected: Expected) -> None:
    host.has_cloud_init(expected)
    host.wait_for_cloud_init()
    assert host.hostname() == expected.hostname, (
        f"the host calls itself {host.hostname()!r}, the seed said {expected.hostname!r}"
    )
    assert (host.read("/etc/hostname") or "").strip() == expected.hostname, (
        "/etc/hostname does not hold the seed's name: it is lost at the next boot"
    )
