"""What a release line of an architecture may not say."""

from pathlib import Path

import pytest

from imagebuild.errors import UsageError
from imagebuild.release_line import reading
from tests.data import ROOT
from tests.golden import check_golden
from tests.kickstart.samples import rendered

ARM = ROOT / "configs" / "debian-12-aarch64.yaml"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "firmware: [uefi, uefi-secure]",
            "firmware: [bios, uefi]",
            "images.cloud.firmware: machines of aarch64 have no bios",
        ),
        (
            "    firmware: [uefi, uefi-secure]\n",
            "",
            "images.cloud.firmware: machines of aarch64 have no bios",
        ),
        (
            "      raw.xz: {level: 0}\n",
            "      vagrant-libvirt: {}\n",
            "images.cloud.formats.vagrant-libvirt: there is none for aarch64",
        ),
        (
            "      raw.xz: {level: 0}\n",
            "      ova: {}\n",
            "images.cloud.formats.ova: there is none for aarch64",
        ),
        ("arch: aarch64", "arch: ppc64le", "arch: "),
        ("arch: aarch64", "arch: vax", "arch: "),
        ("  arches: [aarch64]\n", "", "publish.arches"),
    ],
)
def test_what_such_machines_do_not_have_is_an_error(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = ARM.read_text()
    assert text.count(old) == 1
    file = tmp_path / "line.yaml"
    file.write_text(text.replace(old, new))
    with pytest.raises(UsageError) as caught:
        reading.load(file, tmp_path)
    assert says in caught.value.message


def test_its_kickstart_is_as_it_was(request: pytest.FixtureRequest) -> None:
    text, _ = rendered("debian-12-aarch64")
    check_golden(request, "debian-12-aarch64-cloud.ks", text)
    assert "console=ttyAMA0" in text
    assert "biosboot" not in text
