"""The Jenkinsfile parses as Groovy (tree-sitter's grammar), has what a nightly needs, and keeps its logic out
of Groovy.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_groovy

from imagebuild.release_line import reading as config
from tests.data import ROOT

PROGRAM = Path(sys.executable).parent / "imagebuild"
TEXT = (ROOT / "Jenkinsfile").read_bytes()


def parsed(text: bytes) -> tree_sitter.Node:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_groovy.language())).parse(text).root_node


def nodes(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


def test_it_is_groovy() -> None:
    assert not parsed(TEXT).has_error, [
        (each.start_point, each.text) for each in nodes(parsed(TEXT)) if each.is_error or each.is_missing
    ]


@pytest.mark.parametrize(
    "broken",
    [
        TEXT.replace(b"stages {", b"stages", 1),
        TEXT.replace(b"'nightly')", b"'nightly)", 1),
        TEXT.rstrip()[:-1],
    ],
)
def test_a_broken_one_is_not(broken: bytes) -> None:
    assert parsed(broken).has_error


@pytest.mark.parametrize(
    "part",
    [
        "pipeline {",
        "parameters {",
        "cron(",
        "matrix {",
        "axis {",
        "archiveArtifacts",
        "junit ",
        "publishHTML",
        "failure {",
        "mail to:",
    ],
)
def test_it_has(part: str) -> None:
    assert part in TEXT.decode()


def test_no_logic_in_groovy() -> None:
    code = re.sub(r"//.*", "", TEXT.decode())
    assert not re.search(r"\b(def|if|else|for|while|try|catch|script|switch|import|return)\b\s*[({ ]", code)


def commands() -> list[str]:
    found = re.findall(r"sh '(imagebuild [^']*)'", TEXT.decode())
    assert len(found) == len(re.findall(r"sh 'imagebuild", TEXT.decode())) == 3
    return found


def test_its_commands_exist(tmp_path: Path) -> None:
    shell = shutil.which("sh")
    assert shell is not None
    for line in commands():
        # the shell takes it apart as Jenkins' would; --help stops it before it does anything
        argv = [shell, "-c", f"{line.replace('imagebuild', str(PROGRAM), 1)} --help"]
        environment = {
            "STORE": str(tmp_path),
            "OUTPUT": str(tmp_path),
            "REF": "x/1/y/z",
            "FORCED": "--force",
            "PATH": "/usr/bin:/bin",
        }
        finished = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
        assert finished.returncode == 0, finished.stderr
        for option in re.findall(r"(--[a-z]+)", line):
            assert option in finished.stdout, f"{option} of {line}"


def test_its_refs_are_built_by_a_configuration(tmp_path: Path) -> None:
    refs = re.findall(r"'((?:fedora|debian)[^']*/[^']*)'", TEXT.decode())
    assert refs
    for ref in refs:
        config.find(ref, tmp_path)
