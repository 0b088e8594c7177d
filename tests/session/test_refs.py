"""Which refs there are, and which are meant."""

from pathlib import Path

import pytest

from imagebuild.errors import UsageError
from imagebuild.session.refs import choose, known_refs, matches
from tests.cli.running import CONFIG
from tests.data import ROOT
from tests.tools.ostree.commits import REF, Source


@pytest.fixture
def settings(source: Source, tmp_path: Path) -> Path:
    file = tmp_path / "test.yaml"
    text = CONFIG.format(url=source.url, key=source.key, size="6 GiB")
    file.write_text(text.replace(f"[{REF}]", "[test/*/x86_64/host, other/1]"))
    return file


def test_every_line_of_configs_is_there(tmp_path: Path) -> None:
    known = known_refs(tmp_path)
    assert {each.config for each in known} == set((ROOT / "configs").glob("*.yaml"))
    assert [each.ref for each in known] == sorted(each.ref for each in known)
    (bodhi,) = (each for each in known if each.ref == "fedora/29/x86_64/atomic-host")
    assert (bodhi.product, bodhi.release, bodhi.arch, bodhi.host_kind) == ("Fedora", "29", "x86_64", None)


def test_a_pattern_stands_for_what_its_repository_has(settings: Path, tmp_path: Path) -> None:
    known = {each.ref: each for each in known_refs(tmp_path, [settings], look=True)}
    assert list(known) == ["other/1", REF]
    # its tree has no rpm-ostree; of the other there is no tree
    assert (known[REF].host_kind, known["other/1"].host_kind) == ("ostree", None)


def test_refs_are_chosen_by_name_and_by_pattern_each_once(tmp_path: Path) -> None:
    debian = "debian/12/x86_64/atomic-host"
    assert [each.ref for each in choose([debian, debian], ["debian/1[23]/x86_64/*"], [], tmp_path)] == [
        debian,
        "debian/13/x86_64/atomic-host",
    ]
    everything = [each.ref for each in choose([], ["*"], [], tmp_path)]
    assert everything == [each.ref for each in known_refs(tmp_path)]


def test_a_star_is_one_word() -> None:
    assert matches("fedora/29/x86_64/atomic-host", "fedora/*/x86_64/*")
    assert not matches("fedora/29/x86_64/updates/atomic-host", "fedora/*/x86_64/*")
    assert not matches("fedora/29/aarch64/atomic-host", "fedora/*/x86_64/*")
    assert matches("a/b/c", "*")
    assert not matches("a/b/c", "*/*")


def test_what_is_not_there_is_said(settings: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--refs nothing/\*: there is no such ref") as error:
        choose([], ["nothing/*"], [], tmp_path)
    assert "debian/12/x86_64/atomic-host" in error.value.hint
    with pytest.raises(UsageError, match="no configuration builds the ref nothing/1"):
        choose(["nothing/1"], [], [], tmp_path)
    with pytest.raises(UsageError, match="does not build the ref nothing/1"):
        choose(["nothing/1"], [], [settings], tmp_path)


def test_lines_of_ones_own(settings: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(settings.read_text().replace("test/*/x86_64/host, other/1", "third/1"))
    lines = [settings, other]
    assert [each.ref for each in choose([], ["*"], lines, tmp_path)] == ["other/1", REF, "third/1"]
    assert [each.config for each in choose(["third/1", REF], [], lines, tmp_path)] == [other, settings]
    other.write_text(settings.read_text())
    for refs, patterns in ((["other/1"], []), ([], ["*"])):
        with pytest.raises(UsageError, match="several configurations build other/1"):
            choose(refs, patterns, lines, tmp_path)
