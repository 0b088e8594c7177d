"""Vagrant's well-known key opens a Vagrant box for vagrant, who needs no password to become root; and opens
nothing else.
"""

from imagebuild.kinds import Login
from imagebuild.smoke.criterion import Group, criterion
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host
from imagebuild.tools import vagrant_key


@criterion(
    group=Group.ACCESS,
    about="Vagrant's well-known key opens a Vagrant box for vagrant, and no other image.",
    boots=True,
)
def test_vagrant_logs_in_with_the_insecure_key(host: Host, expected: Expected) -> None:
    if expected.terms.login is not Login.VAGRANT:
        found = host.run(
            "sh",
            "-c",
            'grep -rlsF "$1" /var/home/*/.ssh /var/roothome/.ssh /usr/etc/ssh /etc/ssh',
            "sh",
            vagrant_key.PUBLIC.split()[1],
        )
        # 2: some of the places are not there
        assert found.status in (1, 2) or found.output, (
            f"nobody could look for Vagrant's key: {found.complaint.strip()}"
        )
        assert not found.output.strip(), (
            f"Vagrant's insecure key opens an image that is not a Vagrant box: {found.output.strip()}"
        )
        # getent(1): 2 is "not found"
        assert host.run("getent", "passwd", vagrant_key.USER).status == 2, (
            "an image that is not a Vagrant box has the user vagrant"
        )
        raise NotApplicableError("not a Vagrant box: it has neither the user nor the key (checked)")
    home = host.succeeds("getent", "passwd", vagrant_key.USER).split(":")[5]
    keys = (host.read(f"{home}/.ssh/authorized_keys") or "").split("\n")
    assert [key for key in keys if key.strip()] == [vagrant_key.PUBLIC], (
        f"{home}/.ssh/authorized_keys holds something else than Vagrant's key: {keys}"
    )
    modes = host.succeeds("stat", "-c", "%a %U", f"{home}/.ssh", f"{home}/.ssh/authorized_keys").split("\n")[
        :2
    ]
    assert modes == ["700 vagrant", "600 vagrant"], f"modes and owners of {home}/.ssh are {modes}"
    identity = host.run("sudo", "-n", "--", "id", "-un", root=False)
    assert identity.output.strip() == "root", (
        f"vagrant cannot become root without a password: {identity.complaint.strip()}"
    )
