"""The kickstarts of the release lines against the table of what Fedora released, and against the mistakes it
made on the way.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from imagebuild.config import syntaxes
from imagebuild.deploy.execute import kernel_arguments, reason_not_to_change
from imagebuild.kickstart import plan
from imagebuild.kickstart import source as language
from imagebuild.kickstart.statements import statements_of
from imagebuild.kinds import Firmware
from imagebuild.live.dialogue import missing
from imagebuild.tools import vagrant_key
from tests.data import ROOT
from tests.golden import check_golden
from tests.kickstart.samples import GIB, MIB, rendered

RELEASES = range(25, 30)
DEBIAN = ("debian-12", "debian-13", "debian-14")
BIOS = frozenset({Firmware.BIOS})


def table() -> dict[str, Any]:
    """The table of releases (f28 is as f27, f29 too where it says nothing)."""
    found: dict[str, Any] = yaml.safe_load(
        (ROOT / "tests" / "data" / "fedora" / "kickstart-by-release.yaml").read_text()
    )
    found["f28"], found["f29"] = found["f27"], found["f27"] | found["f29"]
    return found


def made(release: int, variant: str = "cloud") -> plan.Plan:
    text, syntax = rendered(f"fedora-{release}", variant)
    return plan.read(text, syntax, disk_size=(6 if variant == "cloud" else 40) * GIB, firmware=BIOS, seed="x")


def bare(text: str) -> str:
    return text.replace('"', "")


@pytest.mark.parametrize("release", RELEASES)
def test_a_cloud_kickstart_has_the_values_of_its_release(release: int) -> None:
    data = table()
    common, own = data["common"], data[f"f{release}"]
    text = bare(rendered(f"fedora-{release}")[0])
    lines = text.splitlines()
    for command in (
        "lang",
        "keyboard",
        "timezone",
        "auth",
        "selinux",
        "rootpw",
        "firewall",
        "network",
        "services",
        "volgroup",
        "clearpart",
    ):
        assert f"{command} {common[command]}" in lines, command
    assert {"text", "zerombr", common["end"], common["part_pv"]} <= set(lines)
    assert bare(own["boot"]) in lines
    assert bare(own["root"]) in lines
    append = own["append"].partition(" (")[0]
    if release == 25:
        append += " net.ifnames=0"  # of the f25 branch, 2016-10-14
    assert f"bootloader --timeout=1 --append={append}" in lines
    assert ("user --name=none" in lines) == bool(own["user"])
    assert f"gpg-verify={'true' if own['remote_gpg'] else 'false'}" in text
    ref = own["ref_release"].replace("${basearch}", "x86_64").replace("/27/", f"/{release}/")
    assert any(line.startswith("ostreesetup") and line.endswith(f"--ref={ref}") for line in lines)


@pytest.mark.parametrize("release", RELEASES)
def test_what_was_a_bug_once_is_not_one_again(release: int) -> None:
    for variant in ("cloud", "vagrant"):
        text = rendered(f"fedora-{release}", variant)[0]
        setup = [
            line for line in text.splitlines() if "docker-storage-setup" in line and not line.startswith("#")
        ]
        assert setup, variant
        assert all(">> /etc/sysconfig/docker-storage-setup" in line for line in setup), (
            "the tree's own storage keys were overwritten"
        )
        assert "GROWPART=true" in text
        assert ("ROOT_SIZE=+100%%FREE" in text) == (release >= 27)
        assert "\ncmdline" not in text
        assert "\ntext\n" in text
        assert "/var/lib/systemd/random-seed" in text
        assert "/var/lib/random-seed" not in text
        assert "truncate -s 0 /etc/resolv.conf" in text
        assert "ifcfg-ens3" in text
        assert "80-net-setup-link" not in text.replace("a masked 80-net-setup-link.rules broke veth", "")
        assert not [line for line in text.splitlines() if "sed -i" in line and "/boot" in line], (
            "sed -i on a symlink in /boot"
        )
        assert "docker-storage-setup &&" not in text
        assert "\nsystemctl start" not in text
        assert r"Defaults\\s" not in text


@pytest.mark.parametrize("release", RELEASES)
def test_a_vagrant_kickstart_is_the_cloud_one_and_vagrant(release: int) -> None:
    data = table()["vagrant_overlay"]
    box = made(release, "vagrant")
    assert box.append == tuple(data["append"].split())
    assert [user.name for user in box.users if user.name != "none"] == ["vagrant"]
    assert box.users[-1].password.startswith("$6$")
    assert not box.root_locked
    text = rendered(f"fedora-{release}", "vagrant")[0]
    assert f"echo '{vagrant_key.PUBLIC}' > \"$home/.ssh/authorized_keys\"" in text
    for words in (
        "systemctl mask cloud-init",
        "passwd -u root",
        "vagrant ALL=(ALL) NOPASSWD: ALL",
        "UseDNS no",
        "!requiretty",
    ):
        assert words in text, words
    assert text.index("passwd -l root") < text.index("passwd -u root")


@pytest.mark.parametrize("line", DEBIAN)
@pytest.mark.parametrize("variant", ["cloud", "vagrant", "installer", "interactive"])
def test_the_kickstarts_of_a_debian_line_are_accepted(line: str, variant: str) -> None:
    text, syntax = rendered(line, variant)
    planned = plan.read(text, syntax, disk_size=20 * GIB, firmware=frozenset(Firmware), seed="x")
    assert planned.ref == f"debian/{line.removeprefix('debian-')}/x86_64/atomic-host"
    # ostree remounts what is to be read-only itself: the root file system must begin writable
    # (ostree-prepare-root.c, "fs writable")
    assert "rw" in kernel_arguments(planned)


@pytest.mark.parametrize("syntax", syntaxes.usable())
@pytest.mark.parametrize("variant", ["cloud", "vagrant", "installer", "interactive"])
def test_what_we_ship_can_be_had_in_every_version(variant: str, syntax: str) -> None:
    """Somebody's CentOS 7 says RHEL7 beside our templates."""
    text, _ = rendered("debian-12", variant)
    assert plan.read(text, syntax, disk_size=20 * GIB, firmware=frozenset(Firmware), seed="x").root()


@pytest.mark.parametrize("release", RELEASES)
def test_the_layout_is_the_published_one(release: int) -> None:
    cloud, box = made(release), made(release, "vagrant")
    boot = 300 if release < 27 else 1024
    assert cloud.table == "mbr"
    assert cloud.partitions[0].size == boot * MIB
    assert cloud.partitions[0].start == MIB
    if release < 27:
        assert cloud.volumes[0].size == box.volumes[0].size == 3000 * MIB
        assert reason_not_to_change(cloud, box) is None, (
            "the boxes of Fedora 25 and 26 are the cloud disk with more room in the group"
        )
        assert box.partitions[1].size // 10**8 == 426, "a volume group of 40.7 … on 40 GiB"
    else:
        assert cloud.volumes[0].size > 5000 * MIB
        assert box.volumes[0].size > 38 * GIB
        assert reason_not_to_change(cloud, box) is None, "a root that fills the group is grown"


@pytest.mark.parametrize("line", [*DEBIAN, *(f"fedora-{release}" for release in RELEASES)])
def test_installer_kickstarts_carry_the_users_remote(line: str, request: pytest.FixtureRequest) -> None:
    for variant in ("installer", "interactive"):
        text, syntax = rendered(line, variant)
        check_golden(request, f"{line}-{variant}.ks", text)
        planned = plan.read(text, syntax, disk_size=20 * GIB, firmware=frozenset(Firmware), seed="x")
        # what Anaconda is told to install from, and what the installed host is told instead (fedora-lorax-
        # templates, lorax-configure-repo.tmpl)
        assert planned.url == "file:///ostree/repo"
        script = next(each for each in planned.scripts if "ostree remote add" in each.text)
        assert script.must_succeed
        assert "ostree remote delete" in script.text.split("ostree remote add")[0]
        assert ("gpg-verify=true" in script.text) == (line != "fedora-25")
        # the unattended one says who may log in, the other one asks
        said = statements_of(language.parse(text, syntax, line))
        assert bool(missing(said)) == (variant == "interactive")
        assert said.erases_all


def test_sizes_are_those_of_the_table() -> None:
    sizes = table()["image_sizes_gib"]
    for file in sorted((ROOT / "configs").glob("fedora-*.yaml")):
        images = yaml.safe_load(file.read_text())["images"]
        assert {name: image["disk_size"] for name, image in images.items()} == {
            name: f"{size} GiB" for name, size in sizes.items()
        }


def test_a_kickstart_of_our_own_is_a_file_and_says_what_it_is() -> None:
    for file in [*(ROOT / "kickstarts").glob("*.ks"), *(ROOT / "kickstarts").glob("parts/*.ks")]:
        assert file.read_text().startswith("# "), file
        assert Path(file).read_text().endswith("\n"), file
