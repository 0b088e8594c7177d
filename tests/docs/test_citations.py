"""What a document, a docstring or a comment points to is in the repository."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.data import ROOT

PLACES = ("imagebuild", "tests", "docs", "kickstarts", "templates", "configs", ".ci")
SUFFIXES = {".py", ".md", ".ks", ".sh", ".yaml", ".toml", ".j2", ".csv"}
OURS = re.compile(
    r"(?<![\w/.$*{-])((?:docs|tests|imagebuild|kickstarts|templates|configs)/[\w./-]+\.(?:md|py|ks|sh|yaml|csv|json))\b"
)
DOCUMENT = re.compile(r"(?<![\w/.-])([\w-]+\.md)\b")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
# documents of other projects that are named as a source, and what tests write themselves
FOREIGN = {
    "bootloaders.md",
    "NAME.md",
    "adapting-existing.md",
    "atomic-install.1.md",
    "extra-repo.ks",
    # of coreos-assembler
    "external-tests.md",
    "a.py",
}


def texts() -> Iterator[tuple[Path, str]]:
    files = [file for place in PLACES for file in (ROOT / place).rglob("*") if "data" not in file.parts[:-1]]
    for file in [
        *files,
        *ROOT.glob("*.md"),
        ROOT / "pyproject.toml",
        ROOT / "Makefile",
        ROOT / "Jenkinsfile",
    ]:
        if file.is_file() and (file.suffix in SUFFIXES or file.suffix == ""):
            yield file, file.read_text()


def test_files_that_are_cited_are_there() -> None:
    missing = {
        f"{file.relative_to(ROOT)}: {name}"
        for file, text in texts()
        for name in OURS.findall(text)
        if not re.search("NAME|ROOM|/share/", name)
        and Path(name).name not in FOREIGN
        and not (ROOT / name).exists()
    }
    assert not missing


def test_documents_that_are_cited_are_there() -> None:
    known = {
        file.name
        for file in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")]
    }
    missing = {
        f"{file.relative_to(ROOT)}: {name}"
        for file, text in texts()
        for name in DOCUMENT.findall(text)
        if name not in known | FOREIGN and file.name != "test_citations.py"
    }
    assert not missing


def test_links_lead_somewhere() -> None:
    dead = {
        f"{file.relative_to(ROOT)}: {target}"
        for file, text in texts()
        if file.suffix == ".md"
        for target in LINK.findall(text)
        if not (file.parent / target).exists()
    }
    assert not dead
