"""cloud-init passes an ssh key."""

from imagebuild.smoke.criterion import Group, Trait, criterion
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host


@criterion(
    group=Group.CLOUD_INIT,
    about="cloud-init lets the owner of an ssh key in.",
    boots=True,
    applies_to="images with cloud-init (a Vagrant box must have it masked)",
    needs=(Trait.CLOUD_INIT,),
)
def test_cloud_init_passes_an_ssh_key(host: Host, expected: Expected) -> None:
    host.has_cloud_init(expected)
    home = host.succeeds("getent", "passwd", expected.user).split(":")[5]
    keys = host.read(f"{home}/.ssh/authorized_keys") or ""
    assert expected.public_key.split()[1] in keys, f"the seed's key is not in {home}/.ssh/authorized_keys"
    result = host.wait_for_cloud_init()
    assert "NoCloud" in str(result.get("datasource")), (
        f"cloud-init read {result.get('datasource')!r}, not the seed"
    )
