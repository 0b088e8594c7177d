"""A directory of criteria is read: what is in it, and what is refused, in a sentence."""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from imagebuild.kinds import Firmware
from imagebuild.smoke.criterion import Asks
from imagebuild.smoke.site import reading
from imagebuild.smoke.site.reading import read_criteria
from imagebuild.smoke.site.record import SiteCriterion

SCRIPT = "#!/bin/sh\ntrue\n"
# coreos-assembler (2025), docs/kola/external-tests.md: the two ways of a header
YAML = "#!/bin/bash\n## kola:\n##   architectures: x86_64  # a remark\n##   tags: needs-internet\ntrue\n"
JSON = (
    '#!/bin/bash\n# kola: { "architectures": "!s390x ppc64le", "timeoutMin": 8, "exclusive": false }\ntrue\n'
)
OURS = frozenset({"artifact-boots"})


def made(root: Path, files: Mapping[str, str]) -> Path:
    """Return a directory with these files; a script is executable, unless its name ends in `-`."""
    for name, text in files.items():
        file = root / name.rstrip("-")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!") and not name.endswith("-") else 0o644)
    return root


def read(root: Path, files: Mapping[str, str]) -> dict[str, SiteCriterion]:
    return {site.name: site for site in read_criteria(made(root, files), OURS)}


def test_an_executable_is_for_every_guest_and_has_one_for_itself(tmp_path: Path) -> None:
    (found,) = read(tmp_path / "site", {"Our_CA.sh": SCRIPT, "README.md": "words\n"}).values()
    assert (found.name, found.program, found.kola) == ("our-ca-sh", "Our_CA.sh", "ext.site.Our_CA.sh")
    assert (found.asks, found.artifacts, found.firmware) == (Asks.OWN_BOOT, ("*",), ())
    assert [file.data for file in found.files] == [SCRIPT.encode()]
    assert found.reason_not_for(Firmware.BIOS, "x86_64") == ""


def test_a_record_says_where_and_how(tmp_path: Path) -> None:
    record = (
        "about: Our CA is trusted.\nartifacts: [cloud]\nfirmware: [uefi]\nfresh_boot: false\nminutes: 3\n"
        "warn_until: 2026-12-31\nskippable: true\n"
    )
    (found,) = read(tmp_path / "site", {"ca": SCRIPT, "ca.yaml": record}).values()
    assert found == replace(
        found, about="Our CA is trusted.", artifacts=("cloud",), firmware=(Firmware.UEFI,), seconds=180.0,
        asks=Asks.FIRST_BOOT, skippable=True, warn_until=date(2026, 12, 31),
    )  # fmt: skip
    assert "other firmware: uefi" in found.reason_not_for(Firmware.BIOS, "x86_64")
    assert "other artifacts: cloud" in replace(found, here=False).reason_not_for(Firmware.UEFI, "x86_64")
    waivers = [found.waiver(date(2026, 12, day)) for day in (31,)] + [found.waiver(date(2027, 1, 1))]
    assert [waiver.expired for waiver in waivers if waiver is not None] == [False, True]
    # each guest under each firmware is asked
    assert found.criterion.firmware_bound


def test_a_file_of_pytest_has_a_criterion_for_each_function(tmp_path: Path) -> None:
    text = (
        "from helper import x\ndef test_one(host):\n    '''One.\n\n    More.'''\n"
        "def test_two(journey, host): pass\ndef other(): pass\n"
    )
    files = {"test_it.py": text, "test_it.yaml": "fresh_boot: true\n", "helper.py": "x = 1\n"}
    found = read(tmp_path / "site", files)
    assert {name: (one.about, one.asks) for name, one in found.items()} == {
        "one": ("One.", Asks.OWN_BOOT),
        "two": ("", Asks.JOURNEY),
    }
    assert [file.path for file in found["two"].files] == ["test_it.py", "helper.py"]


def test_kolas_tests_are_read_as_kola_reads_them(tmp_path: Path) -> None:
    root = tmp_path / "podman" / "tests" / "kola"
    files = {
        "basic/test.sh": SCRIPT,
        "two/yaml": YAML,
        "two/json": JSON,
        "two/plain": SCRIPT,
        "two/kola.json": '{"minMemory": 4096, "creationDate": "2026-11-01", "description": "Two."}',
        "two/data/deep/file": "data\n",
    }
    found = read(root, files)
    assert set(found) == {"basic", "two-yaml", "two-json", "two-plain"}
    assert {one.kola for one in found.values()} >= {"ext.podman.basic", "ext.podman.two.yaml"}
    assert found["two-yaml"].architectures == ("x86_64",)
    assert "needs-internet" in found["two-yaml"].untested
    as_json, plain = found["two-json"], found["two-plain"]
    assert (as_json.not_architectures, as_json.seconds) == (("s390x", "ppc64le"), 480.0)
    assert (as_json.asks, plain.asks) == (Asks.FIRST_BOOT, Asks.OWN_BOOT)
    assert "leaves out guests of ppc64le" in as_json.reason_not_for(Firmware.UEFI, "ppc64le")
    assert (plain.memory, plain.about, plain.warn_until) == (4096 << 20, "Two.", date(2026, 12, 1))
    assert [file.path for file in plain.files] == ["plain", "data/deep/file"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('{"platforms": "aws gcp"}', "for other platforms than qemu: aws gcp"),
        ('{"distros": "fcos"}', "for fcos only"),
        ('{"requiredTag": "special"}', "only where the tag special is asked for"),
    ],
)
def test_what_kola_would_run_elsewhere_does_not_apply(tmp_path: Path, more: str, says: str) -> None:
    (found,) = read(tmp_path / "site", {"d/t": SCRIPT, "d/kola.json": more}).values()
    assert says in found.reason_not_for(Firmware.UEFI, "x86_64")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("config.ign", "{}", "config.ign would have to configure its guest"),
        ("config.bu", "variant: fcos\n", "config.bu would have to configure its guest"),
        ("kola.json", '{"additionalDisks": ["5G"]}', "a machine that is not made here: additionalDisks"),
    ],
)
def test_what_needs_another_guest_is_not_tested(tmp_path: Path, name: str, text: str, says: str) -> None:
    (found,) = read(tmp_path / "site", {"d/t": SCRIPT, f"d/{name}": text}).values()
    assert says in found.untested


def test_a_changed_file_is_another_criterion(tmp_path: Path) -> None:
    files = {"a": SCRIPT, "data/x": "1", "b/t": SCRIPT}
    before, again = read(tmp_path / "site", files), read(tmp_path / "site", files)
    (tmp_path / "site" / "data" / "x").write_text("2")
    after = read(tmp_path / "site", {})
    assert before["a"].digest == again["a"].digest != after["a"].digest
    assert before["b-t"].digest == after["b-t"].digest
    # how long it only warns is no part of what it finds
    assert replace(after["a"], warn_until=date(2026, 1, 1)).digest == after["a"].digest


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"README": "words"}, "has neither an executable nor a file"),
        ({"artifact-boots": SCRIPT}, "site/artifact-boots: artifact-boots is a criterion already: one of"),
        ({"a.b": SCRIPT, "a/b": SCRIPT}, "site/a/b: a-b is a criterion already: site/a.b"),
        ({"probe-": SCRIPT}, "site/probe: is a script that is not executable"),
        ({"a": SCRIPT, "gone.yaml": "{}"}, "site/gone.yaml: is the record of a criterion that is not there"),
        ({"a": SCRIPT, "a.yaml": "minuts: 3\n"}, "site/a.yaml: minuts: unknown key"),
        ({"a": SCRIPT, "a.yaml": "minutes: 600\n"}, "site/a.yaml: minutes: Input should be less than"),
        ({"a": SCRIPT, "a.yaml": "- 1\n"}, "site/a.yaml: the record: "),
        ({"a": SCRIPT, "a.yaml": "about: [\n"}, "site/a.yaml: is not YAML"),
        ({"a": SCRIPT, "a.yaml": "about: &x y\n"}, "site/a.yaml: has an anchor"),
        ({"a": SCRIPT, "kola.json": '{"nothing": 1}'}, "site/kola.json: nothing: unknown key"),
        ({"a": SCRIPT, "kola.json": "["}, "site/kola.json: is not JSON"),
        ({"a": YAML.replace("tags", "tag")}, "site/a:2: tag: unknown key"),
        ({"a": "#!/bin/sh\n# kola: {\n"}, "site/a:2: is not JSON"),
        ({"a b": SCRIPT}, "site/a b: its name has more than letters"),
        ({"test_x.py": "def f(): pass\n"}, "site/test_x.py: has no function test_"),
        ({"test_x.py": "def test_(:\n"}, "site/test_x.py: is not Python"),
        ({"test_x.py": "class TestX: pass\n"}, "site/test_x.py:1: ClassDef: a criterion is a plain function"),
        ({"test_x.py": "from y import test_z\n"}, "site/test_x.py:1: test_z: a criterion is a plain"),
        ({"test_x.py": "from y import *\n"}, "site/test_x.py:1: *: a criterion is a plain function"),
        ({"test_x.py": "if 1:\n  def test_x(): 1\n"}, "site/test_x.py:2: test_x: a criterion is a plain"),
        ({"test_x.py": "test_x = print\n"}, "site/test_x.py:1: test_x: a criterion is a plain function"),
        ({"test_x.py": "@mark\ndef test_x(): pass\n"}, "site/test_x.py:2: test_x has a decorator"),
        ({"test_x.py": "def test_x(): 1\ndef test_x(): 2\n"}, "test_x is there twice"),
        ({"test_x.py": "def test_x(journey, layering): 1\n"}, "goes on one journey"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(tmp_path: Path, files: Mapping[str, str], says: str) -> None:
    with pytest.raises(ValueError, match="site") as caught:
        read(tmp_path / "site", files)
    assert says in str(caught.value)


def test_a_link_leads_nowhere_else(tmp_path: Path) -> None:
    root = made(tmp_path / "site", {"a": SCRIPT})
    (root / "inside").symlink_to("a")
    assert [site.name for site in read_criteria(root, OURS)] == ["a", "inside"]
    (root / "inside").unlink()
    for target, says in (
        ("/etc/passwd", "is a link out of the directory"),
        ("../..", "is a link out of the directory"),
        ("nowhere", "cannot be read"),
        (".", "is deeper than 8 directories, or a circle"),
    ):
        link = root / "data"
        link.symlink_to(target)
        with pytest.raises(ValueError, match=r"site/(data/)*data: ") as caught:
            read_criteria(root, OURS)
        assert says in str(caught.value)
        link.unlink()


def test_only_files_are_read_and_not_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made(tmp_path / "site", {"a": SCRIPT})
    os.mkfifo(root / "fifo")
    with pytest.raises(ValueError, match="site/fifo: is neither a file nor a directory"):
        read_criteria(root, OURS)
    (root / "fifo").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(reading, "MOST_BYTES", len(SCRIPT) - 1)
        with pytest.raises(ValueError, match="site: holds more than 0 MiB"):
            read_criteria(root, OURS)
    monkeypatch.setattr(reading, "MOST_FILES", 3)
    made(root, {f"data/{number}": "x" for number in range(4)})
    with pytest.raises(ValueError, match="site: has more than 3 files"):
        read_criteria(root, OURS)
