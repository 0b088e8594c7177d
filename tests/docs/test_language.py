"""Plain, idiomatic English: phrases that are another language, word for word."""

import re
from pathlib import Path

import pytest

from tests.data import ROOT

# pattern -> what to write instead
BANNED = {
    r"\bheld against\b|\bhold(s|ing)? (it |them |a \w+ )?against\b": "tested by, compared with",
    r"\bwhat mends\b|\bmends (it|what|that)\b": "fixes; how to get it",
    r"\bwhat\?": "say what is missing, and what to give",
    r"(?<!here )\bis no (program|file|directory|number|image|box|object|disk|member|key)\b": "is not a",
    r"\bis a build host\b|\bthis build host\b": "machine, builder",
}
PLACES = ("imagebuild", "docs", "kickstarts", "templates", "configs")
SUFFIXES = {".py", ".md", ".ks", ".sh", ".yaml", ".j2"}


def documents() -> list[Path]:
    files = [file for place in PLACES for file in (ROOT / place).rglob("*") if file.suffix in SUFFIXES]
    return [*files, *(file for file in ROOT.glob("*.md"))]


@pytest.mark.parametrize("pattern", BANNED)
def test_a_phrase_is_written_nowhere(pattern: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in documents()
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if re.search(pattern, line)
    ]
    assert not found, f"instead: {BANNED[pattern]}\n" + "\n".join(found)
