"""Which lorax there is, and whether it fits the release."""

from pathlib import Path

import pytest

from imagebuild.config.installer import InstallerConfig
from imagebuild.errors import UsageError
from imagebuild.installers.lorax import record
from imagebuild.installers.lorax.about import About, misfit
from imagebuild.installers.lorax.options import LoraxConfig
from imagebuild.installers.registry import choose
from imagebuild.release_line import reading as configuration
from imagebuild.session import doctor
from tests.data import ROOT
from tests.installers.lorax.lab import fake, installer, needs_root


def auto(config: InstallerConfig) -> InstallerConfig:
    return config.model_copy(update={"backend": "auto"})


def test_auto_takes_live_and_says_why(tmp_path: Path) -> None:
    config = auto(installer(tmp_path))
    name, why = choose(config)
    assert name == "live"
    assert "lorax is not installed for" in why
    without = config.options(LoraxConfig).model_copy(update={"sources": ()})
    nowhere = config.model_copy(update={"lorax": without})
    assert choose(nowhere) == ("live", "not lorax: no package source is configured")


@needs_root
@pytest.mark.parametrize("generation", ["26.9", "46.0"])
def test_auto_takes_lorax_where_it_works(tmp_path: Path, generation: str) -> None:
    assert choose(auto(installer(fake(tmp_path, generation))))[0] == "lorax"


def test_lorax_that_is_missing_names_the_distributions_package(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lorax cannot be used here") as caught:
        choose(installer(tmp_path))
    assert "dnf install lorax" in caught.value.message
    assert "PyPI is an unrelated project" in caught.value.message
    (tmp_path / "lorax").mkdir()
    (tmp_path / "lorax" / "__init__.py").write_text("")
    assert "PyPI's is an unrelated project" in str(record.unavailable(installer(tmp_path)))
    assert "there is no interpreter" in str(record.unavailable(installer(tmp_path, python="/nowhere/python")))


# how each generation really fails to be imported: 46's __init__.py imports libdnf5, older ones' dnf and
# selinux
@pytest.mark.parametrize(
    ("generation", "line", "error"),
    [
        ("46.0", "import libdnf5 as dnf5", "ModuleNotFoundError: No module named 'libdnf5'"),
        ("39.5", "import selinux_of_nobody", "No module named 'selinux_of_nobody'"),
        ("26.9", "import dnf_of_nobody", "No module named 'dnf_of_nobody'"),
        ("39.5", "raise RuntimeError('a locale')", "RuntimeError: a locale"),
        ("39.5", "import sys; sys.exit(3)", "SystemExit: 3"),
        ("39.5", "print('said on the way'); 1/0", "ZeroDivisionError"),
    ],
)
def test_a_lorax_that_is_found_but_does_not_import_is_not_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generation: str, line: str, error: str
) -> None:
    place = fake(tmp_path, generation)
    package = place / "pylorax" / "__init__.py"
    package.write_text(f"{line}\n{package.read_text()}")
    name, why = choose(auto(installer(place)))
    assert (name, error in why) == ("live", True), why
    with pytest.raises(UsageError, match="does not work"):
        choose(installer(place))
    findings = doctor.release_line(
        configuration.load(ROOT / "configs" / "fedora-29.yaml", tmp_path).model_copy(
            update={"installer": auto(installer(place))}
        )
    )
    found = next(each for each in findings if each.what == "installer backend lorax")
    assert error in found.says
    assert not found.good


def test_an_old_lorax_without_its_command_is_not_working(tmp_path: Path) -> None:
    place = fake(tmp_path, "26.9")
    (place / "bin" / "lorax").unlink()
    assert "there is no program `lorax` in PATH" in str(record.unavailable(installer(place)))
    (place / "bin" / "lorax").write_text("#!/bin/sh\necho words\necho its error >&2\nexit 1\n")
    (place / "bin" / "lorax").chmod(0o755)
    assert "`lorax --help` fails: its error" in str(record.unavailable(installer(place)))


@pytest.mark.parametrize(
    ("version", "product", "release", "fits"),
    [
        ("26.9-1", "Fedora", "26", True),
        ("46.0-1", "Fedora", "26", False),
        ("27.12", "Fedora", "26", False),
        ("28.14.64-1.el8", "Fedora", "28", True),
        ("28.14.64-1.el8", "CentOS", "8-stream", True),
        ("34.9.33-1.el9", "CentOS Stream", "9-stream", True),
        ("40.5.19", "Red Hat Enterprise Linux", "10.1", True),
        ("46.0", "AlmaLinux", "9.4", False),
        ("19.7.28-1", "RHEL", "7.9", True),
        # editions of Fedora
        ("46.0", "Fedora IoT", "40", False),
        ("40.2", "Fedora IoT", "40", True),
        ("39.5", "Fedora-Silverblue", "40.20240101.0", False),
        ("46.0", "Fedorable", "40", True),
        # nothing is known of these
        ("46.0", "Fedora", "rawhide", True),
        ("46.0", "Debian", "12", True),
        ("devel", "Fedora", "26", True),
        ("", "Fedora", "26", True),
        ("46.0", "CentOS", "11", True),
    ],
)
def test_the_lorax_of_a_release_is_known(version: str, product: str, release: str, fits: bool) -> None:
    assert (misfit(About(version=version), product, release) is None) is fits


@needs_root
def test_another_releases_lorax_is_said_before_anything_unless_it_has_the_templates(tmp_path: Path) -> None:
    place = fake(tmp_path, "46.0")
    without = installer(place, sharedir=None)
    name, why = choose(auto(without), "Fedora", "26")
    assert name == "live"
    assert "lorax 46.0-1 is not that of Fedora 26" in why
    with pytest.raises(UsageError, match="is not that of Fedora 26") as caught:
        choose(without, "Fedora", "26")
    assert "installer.lorax.sharedir" in caught.value.hint
    assert choose(installer(place), "Fedora", "26")[0] == "lorax"
    assert choose(without, "Fedora", "46")[0] == "lorax"
    settings = configuration.load(ROOT / "configs" / "fedora-26.yaml", tmp_path).model_copy(
        update={"installer": auto(without)}
    )
    found = next(each for each in doctor.release_line(settings) if each.what == "installer backend lorax")
    assert "is not that of Fedora 26" in found.says
    assert "installer.lorax.sharedir" in found.fix
