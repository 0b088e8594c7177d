"""A kind of thing is told in one file: one of each is added to a copy of the package as the docstrings say, a
module and a line of the registry, and runs from the configuration to the release.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest

from imagebuild.architectures.registry import ARCHITECTURES
from imagebuild.composers.registry import COMPOSERS
from imagebuild.destinations.registry import DESTINATIONS
from imagebuild.formats.registry import FORMATS
from imagebuild.installers.registry import INSTALLERS
from imagebuild.records import IncompleteRecordError, Registry
from imagebuild.smoke.hosts.registry import HOSTS
from imagebuild.smoke.storage.registry import PROFILES
from tests.data import ROOT

THROWN_AWAY = ROOT / "tests" / "thrown_away"
# the file that is added -> the package, and the last words before the line in its registry
ADDED = {
    "plain_format": ("formats", "    vagrant_virtualbox.FORMAT,\n"),
    "floppy_installer": ("installers", '"installer backend", LORAX, LIVE'),
    "nowhere_destination": ("destinations", "local.FILE, *bucket.STORES, rsync.RSYNC, rsync.SSH"),
    "empty_composer": ("composers", '"composer", MMDEBSTRAP, RPM_OSTREE'),
    "bootc_host": ("smoke/hosts", '"kind of host"'),
    "memory_profile": ("smoke/storage", "    devicemapper.PROFILE,\n"),
    "riscv_architecture": ("architectures", '"architecture", X86_64, AARCH64, PPC64LE'),
}


def add(package: Path, module: str) -> None:
    """Add a module and a line of the registry."""
    room, before = ADDED[module]
    shutil.copyfile(THROWN_AWAY / f"{module}.py", package / room / f"{module}.py")
    registry = package / room / "registry.py"
    text = registry.read_text()
    assert text.count(before) == 1, registry
    line = f"    {module}.RECORD,\n" if before.endswith("\n") else f", {module}.RECORD"
    where = f"imagebuild.{room.replace('/', '.')}"
    text = text.replace(
        "from imagebuild.records", f"from {where} import {module}\nfrom imagebuild.records", 1
    )
    registry.write_text(text.replace(before, before + line))


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with one more of each kind."""
    place = tmp_path_factory.mktemp("extended")
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "imagebuild", place / "imagebuild", ignore=unwanted)
    for name in ("configs", "kickstarts", "templates"):
        (place / name).symlink_to(ROOT / name)
    for module in ADDED:
        add(place / "imagebuild", module)
    return place


def run(place: Path, *arguments: object) -> str:
    finished = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        env={**os.environ, "PYTHONPATH": f"{place}:{ROOT}"},
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_one_of_each_goes_from_the_configuration_to_the_release(
    extended: Path, tmp_path: Path, homedir: Path
) -> None:
    said = run(extended, ROOT / "tests" / "thrown_away" / "journey.py", tmp_path, homedir)
    assert said.split() == [
        *("configuration", "graph", "download", "recognised", "installer", "composer", "architecture"),
        *("release", "names", "metadata", "page", "host", "destination"),
    ]


def test_the_command_line_knows_them(extended: Path) -> None:
    schema = run(extended, "-m", "imagebuild", "config", "--schema")
    words = ("PlainConfig", "FloppyConfig", "EmptyConfig", '"in-memory"', '"floppy"', '"plain"', '"riscv64"')
    for word in words:
        assert word in schema


REGISTRIES: list[tuple[str, Registry[Any]]] = [
    ("format", FORMATS),
    ("installer backend", INSTALLERS),
    ("destination", DESTINATIONS),
    ("composer", COMPOSERS),
    ("kind of host", HOSTS),
    ("storage profile", PROFILES),
    ("architecture", ARCHITECTURES),
]


@pytest.mark.parametrize(("kind", "registry"), REGISTRIES, ids=[kind for kind, _ in REGISTRIES])
def test_an_incomplete_record_is_refused_by_its_field(kind: str, registry: Registry[Any]) -> None:
    record = next(iter(registry.values()))
    for field in fields(record):
        if field.default is MISSING and field.default_factory is MISSING and field.name != "name":
            with pytest.raises(
                IncompleteRecordError, match=f"{kind} {record.name}: the field {field.name} is"
            ):
                Registry(kind, replace(record, **{field.name: None}))


def test_an_incomplete_record_is_refused_when_it_is_imported(extended: Path, tmp_path: Path) -> None:
    shutil.copytree(extended, tmp_path / "broken", symlinks=True)
    module = tmp_path / "broken" / "imagebuild" / "formats" / "plain_format.py"
    module.write_text(module.read_text().replace('title="Plain disk"', 'title=""'))
    program = "import imagebuild.release_line.model"
    with pytest.raises(AssertionError, match="format plain: the field title is empty"):
        run(tmp_path / "broken", "-c", program)
