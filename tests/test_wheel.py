"""The wheel works by itself: built, installed into an environment of its own, away from any checkout."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.data import ROOT
from tests.tools.ostree.commits import Source

CONFIG = """product: Test
release: "1"
refs: [test/1/x86_64/host]
tree:
  url: {url}
  gpg_keys: [{key}]
  osname: os
  remote: os
  update_url: https://example.org/repo
  update_gpg_key: /usr/share/key.asc
kickstarts:
  cloud: {{template: debian-12-cloud.ks, syntax: F28}}
images:
  cloud: {{kickstart: cloud, name: Test, disk_size: 6 GiB, formats: {{qcow2: {{}}}}}}
storage: podman-overlay
smoke: {{user: test}}
"""


def run(*argv: str | Path, place: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    finished = subprocess.run(argv, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"{argv}: {finished.stdout}{finished.stderr}"
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run(*argv, "--wheel-dir", place, ROOT, place=place)
    (file,) = place.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in an environment that has the wheel; its dependencies are those of this environment."""
    place = tmp_path_factory.mktemp("environment")
    # gi and guestfs come from the distribution
    run("/usr/bin/python3", "-m", "venv", "--system-site-packages", place, place=place)
    run(
        place / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, place=place
    )
    ours = next(
        Path(entry) for entry in sys.path if entry.startswith(sys.prefix) and entry.endswith("-packages")
    )
    theirs = next((place / "lib").glob("python3*/site-packages"))
    # everything but imagebuild itself, which this environment takes from the checkout
    for entry in ours.iterdir():
        if not entry.name.startswith(("imagebuild", "_imagebuild", "__editable__", "_editable")):
            target = theirs / entry.name
            if not target.exists():
                target.symlink_to(entry)
    return place / "bin/imagebuild"


def test_the_wheel_has_code_and_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for part in (
        "imagebuild/py.typed",
        *(f"imagebuild/share/configs/debian-{release}.yaml" for release in (12, 13, 14)),
        "imagebuild/share/kickstarts/debian-13-cloud.ks",
        "imagebuild/share/kickstarts/parts/atomic-common.ks",
        "imagebuild/share/templates/live/init.sh",
        "imagebuild/share/templates/compose/debian_tree.sh",
        "imagebuild/share/templates/release.html.j2",
    ):
        assert part in names
    assert [name for name in names if "licenses/LICENSE" in name]
    assert not [name for name in names if name.startswith("tests/") or name.endswith(".pyc")]


def test_it_runs_away_from_a_checkout(program: Path, tmp_path: Path, source: Source) -> None:
    where = run(
        program.parent / "python", "-c", "import imagebuild; print(imagebuild.__file__)", place=tmp_path
    )
    assert where.startswith(str(program.parent.parent))
    assert run(program, "--version", place=tmp_path).startswith("imagebuild ")
    file = tmp_path / "line.yaml"
    file.write_text(CONFIG.format(url=source.url, key=source.key))
    assert "no errors" in run(program, "config", file, place=tmp_path)
    assert "ostreesetup" in run(program, "kickstart", "--config", file, place=tmp_path)
    assert "ostreesetup" in run(program, "kickstart", "--ref", "debian/12/x86_64/atomic-host", place=tmp_path)
    plan = run(program, "all", "--plan", "--config", file, place=tmp_path)
    assert "build  disk cloud: never built" in plan


def test_what_is_imported_is_declared() -> None:
    import ast
    from importlib.metadata import packages_distributions

    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = [entry for extra in metadata["optional-dependencies"].values() for entry in extra]
    declared = {
        entry.split(" ")[0].split("[")[0].lower().replace("_", "-")
        for entry in [*metadata["dependencies"], *optional]
    }
    from_distribution = {"gi", "guestfs", "pylorax", "dnf", "libdnf5", "libdnf", "selinux"}
    # of a namespace it may say a package inside of it alone (virt.firmware)
    known = dict[str, list[str]]()
    for package, providers_of in packages_distributions().items():
        known.setdefault(re.split(r"[./]", package)[0], []).extend(providers_of)
    missing = set()
    for file in (ROOT / "imagebuild").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in {name.partition(".")[0] for name in names}:
                if name in sys.stdlib_module_names | from_distribution | {"imagebuild"}:
                    continue
                providers = {provider.lower().replace("_", "-") for provider in known.get(name, [name])}
                missing |= set() if providers & declared else {name}
    assert not missing
