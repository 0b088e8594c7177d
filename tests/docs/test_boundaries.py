"""Each test that SECURITY.md names is there."""

import re

from tests.data import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)?::(\w+)`")


def test_every_boundary_has_its_test() -> None:
    text = (ROOT / "SECURITY.md").read_text().partition("## The test of each boundary")[2]
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    file, missing = "", []
    for row in rows:
        found = NAMED.findall(row)
        assert found, f"no test: {row}"
        for given, name in found:
            file = given or file
            if f"def {name}(" not in (ROOT / file).read_text():
                missing.append(f"{file}::{name}")
    assert len(rows) > 15
    assert missing == []
