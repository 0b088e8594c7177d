"""What a host's answers become in the evidence, and what is not a word of the program that was run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from imagebuild.smoke.host.words import Host
from imagebuild.smoke.hosts.rpm_ostree import RpmOstreeHost
from imagebuild.tools.ssh import Answer

# sudo 1.8.20 of Fedora 26, and one of today
SUDO = (
    "sudo: unable to resolve host smoke-1234\n",
    "sudo: unable to resolve host smoke-1234: Name or service not known\n",
)
SAID = Answer(status=1, output="", complaint="error: No space left\n", seconds=0.1)


@dataclass
class Says:
    answer: Answer

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        return self.answer


def host(answer: Answer, *evidence: Path) -> Host:
    return Host(transport=Says(answer), commands=RpmOstreeHost(), evidence=evidence)


@pytest.mark.parametrize("sudo", SUDO)
def test_sudo_that_cannot_resolve_the_host_is_told_from_the_program(tmp_path: Path, sudo: str) -> None:
    log = tmp_path / "log"
    asked = host(replace(SAID, complaint=sudo + SAID.complaint), log)
    for _ in range(3):
        assert asked.run("rpm-ostree", "upgrade").complaint == SAID.complaint
    assert log.read_text().count("unable to resolve") == 1, "it is said once"
    assert log.read_text().startswith("# sudo: unable to resolve host smoke-1234")
    with pytest.raises(AssertionError, match=r"`rpm-ostree upgrade` ended with 1: error: No space left$"):
        asked.succeeds("rpm-ostree", "upgrade")


@pytest.mark.parametrize("sudo", SUDO)
def test_what_a_program_printed_is_its_own(sudo: str) -> None:
    fine = host(Answer(status=0, output="1777\n", complaint=sudo, seconds=0.1))
    assert (fine.succeeds("stat", "/tmp"), fine.run("stat", "/tmp").complaint) == ("1777\n", "")
    # a terminal has both in one stream
    assert (
        host(Answer(status=0, output=f"{sudo}1777\n", complaint="", seconds=0.1)).succeeds("stat", "/tmp")
        == "1777\n"
    )
    # what was not a word of sudo's stays, and so does what the host's user was told
    later = f"1777\n{sudo}"
    assert host(Answer(status=0, output=later, complaint="", seconds=0.1)).succeeds("stat", "/tmp") == later
    assert host(replace(SAID, complaint=sudo)).run("sudo", "true", root=False).complaint == sudo


def test_a_failure_without_words_of_its_own_tells_what_was_printed() -> None:
    silent = host(Answer(status=1, output="error: nothing to do\n", complaint=SUDO[0], seconds=0.1))
    with pytest.raises(AssertionError, match="ended with 1: error: nothing to do"):
        silent.succeeds("rpm-ostree", "upgrade")


def test_lists_of_packages_are_only_counted_in_the_log(tmp_path: Path) -> None:
    """`rpm-ostree status --json` of 2018.7: each deployment has its whole package list (base-commit-meta,
    rpmostree.rpmdb.pkglist).
    """
    packages = [[f"package-{number}", "0", "1.0", "1.fc26", "x86_64"] for number in range(400)]
    deployments = [
        {
            "checksum": "ab" * 32,
            "booted": not number,
            "base-commit-meta": {"version": "26.1", "rpmostree.rpmdb.pkglist": packages},
        }
        for number in range(2)
    ]
    text = json.dumps({"deployments": deployments})
    log = tmp_path / "log"
    answered = host(Answer(status=0, output=text, complaint="", seconds=0.1), log)
    assert [each.commit for each in answered.commands.deployments(answered)] == ["ab" * 32] * 2
    assert answered.run("rpm-ostree", "status", "--json").output == text, "who asks gets all of it"
    shown = log.read_text()
    assert "package-7" not in shown
    assert shown.count('"(400 entries)"') == 4
    assert len(shown) < len(text) / 20
    assert "ab" * 32 in shown


@pytest.mark.parametrize(
    "text", ["{not JSON " * 300, "[" + "x" * 5000, "line\n" * 1000, '{"short": [' + "1," * 50 + "1]}"]
)
def test_other_answers_are_logged_as_they_are(tmp_path: Path, text: str) -> None:
    host(Answer(status=0, output=text, complaint="", seconds=0.1), tmp_path / "log").run("x")
    assert text in (tmp_path / "log").read_text()
