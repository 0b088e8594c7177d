"""The Jenkinsfile parses as Groovy (tree-sitter's grammar), has what a nightly needs, and keeps its logic out
of Groovy.
"""

import json
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
        TEXT.replace(b"known -> [", b"known -> ", 1),
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
        "parallel(readJSON(",
        "agent { label",
        'node("imagebuild && ${arch}")',
        "name: 'STORE_REMOTE'",
        "name: 'CLUSTER'",
        "catchError(",
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
    assert not re.search(r"\b(def|if|else|for|while|try|catch|switch|import|return)\b\s*[({ ]", code)
    # one statement turns refs into branches: what is declared could not
    assert code.count("script {") == 1


def commands() -> list[str]:
    found = re.findall(r"(?:sh |script: )'(imagebuild [^']*)'", TEXT.decode())
    assert len(found) == TEXT.count(b"'imagebuild ") == 4
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
            "REFS": "*",
            "FORCED": "--force",
            "SHARED": "",
            "CLUSTERED": "",
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
        }
        finished = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
        assert finished.returncode == 0, finished.stderr
        for option in re.findall(r"(--[a-z]+)", line):
            assert option in finished.stdout, f"{option} of {line}"


def test_its_branches_are_the_refs_of_the_configurations(tmp_path: Path) -> None:
    """What the pipeline reads of each ref is there, and leads to a configuration and an agent."""
    (listing,) = (line for line in commands() if line.startswith("imagebuild refs"))
    shell = shutil.which("sh")
    assert shell is not None
    argv = [shell, "-c", listing.replace("imagebuild", str(PROGRAM), 1)]
    environment = {"STORE": str(tmp_path), "REFS": "fedora/*/x86_64/*", "PATH": "/usr/bin:/bin"}
    environment["PYTHONPATH"] = str(ROOT)
    finished = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    refs = json.loads(finished.stdout)
    assert {known["ref"] for known in refs} >= {
        f"fedora/{release}/x86_64/atomic-host" for release in (26, 29)
    }
    read = set(re.findall(r"known\.(\w+)", TEXT.decode()))
    assert read == {"ref", "arch"}
    for known in refs:
        assert all(known[key] for key in read)
        assert config.find(known["ref"], tmp_path)[1].arch == known["arch"]


@pytest.mark.parametrize(
    ("parameter", "option"), [("STORE_REMOTE", "--store-remote="), ("CLUSTER", "--cluster=")]
)
def test_what_several_machines_need_is_passed_on(parameter: str, option: str) -> None:
    (variable,) = re.findall(
        rf"(\w+) = .*params\.{parameter} \? '{option}' \+ params\.{parameter}", TEXT.decode()
    )
    (build,) = (line for line in commands() if line.startswith("imagebuild all"))
    # one word or none: not in quotes
    assert f" ${variable} " in build
