"""Plain, idiomatic English: phrases that are another language, word for word."""

import re
from pathlib import Path

import pytest

from tests.data import ROOT

# pattern -> what to write instead
BANNED = {
    r"\bheld against\b|\bhold(s|ing)? (it |them |a \w+ )?against\b": "tested by, compared with",
    r"\bmend(s|ed|ing)? (it|what|that|this)\b|\bwhat mends\b|\bmay mend\b|needs mending": "fix it",
    r"\bwhat\?": "say what is missing, and what to give",
    # "there is no file" is fine, "no longer" and "no other" are; "the file is no archive" is not
    r"(?i)(?<!here )\b(is|are|was|were) no (?!longer|more|less|way|other|concern)[a-z`{]": "is not a",
    r"\bleav(e|es|ing) \S+ away\b": "leave it out",
    r"\bmay (not )?stand\b": "is allowed, may be",
    r"\bis a build host\b|\bthis build host\b": "machine, builder",
}
# how often a phrase is still written: only ever fewer (`pytest -s` prints the figures)
STILL: dict[str, int] = {}
PLACES = ("imagebuild", "docs", "kickstarts", "templates", "configs")
SUFFIXES = {".py", ".md", ".ks", ".sh", ".yaml", ".j2"}


def documents() -> list[Path]:
    files = [file for place in PLACES for file in (ROOT / place).rglob("*") if file.suffix in SUFFIXES]
    return [*files, *(file for file in ROOT.glob("*.md"))]


@pytest.mark.parametrize("pattern", BANNED)
def test_a_phrase_is_written_nowhere(pattern: str) -> None:
    lines = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in documents()
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if re.search(pattern, line)
    ]
    print(f"{len(lines)} times (at most {STILL.get(pattern, 0)}): {pattern}")
    assert len(lines) <= STILL.get(pattern, 0), f"instead: {BANNED[pattern]}\n" + "\n".join(lines)
