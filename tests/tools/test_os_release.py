"""os-release by other people's pens. Right values: what systemd's parse_env_file makes of it
(src/basic/env-file.c, 259), or says so.
"""

from pathlib import Path

import pytest

from imagebuild.stages import tree as stage
from imagebuild.tools import os_release
from imagebuild.tools.ostree.repository import Repo
from tests.tools.ostree.commits import FILES, REF, make_commit


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b'PRETTY_NAME="Test Host 1"\n', "Test Host 1"),
        (b"PRETTY_NAME='Test Host 1'\n", "Test Host 1"),
        (b"PRETTY_NAME=Test Host 1\n", "Test Host 1"),
        (b"PRETTY_NAME=Test\\ Host\\ 1\n", "Test Host 1"),
        (b"PRETTY_NAME=Bob's Host\n", "Bob's Host"),
        (b'PRETTY_NAME="Bob\'s Host"\n', "Bob's Host"),
        (b'PRETTY_NAME="The \\"good\\" one \\$5 \\`x\\` \\\\ \\n"\n', 'The "good" one $5 `x` \\ \\n'),
        (b'PRETTY_NAME=The "good" one\n', 'The "good" one'),
        (b"PRETTY_NAME=\"Test \"'Host'\n", "Test Host"),
        (b'PRETTY_NAME="Test Host" # the name\n', "Test Host"),
        (b"PRETTY_NAME=Test Host # the name\n", "Test Host"),
        (b"PRETTY_NAME=C#\n", "C#"),
        (b'  PRETTY_NAME = "Test Host"  \n', "Test Host"),
        (b'\xef\xbb\xbfPRETTY_NAME="Test Host"\n', "Test Host"),
        (b'PRETTY_NAME="Test Host"\r\nID=x\r\n', "Test Host"),
        (b'PRETTY_NAME="Test Host"\rID=x', "Test Host"),
        (b'PRETTY_NAME="Old"\nPRETTY_NAME="Test Host"\n', "Test Host"),
        (b'#PRETTY_NAME="No"\n # PRETTY_NAME=No\n;PRETTY_NAME=No\nPRETTY_NAME="Test Host"', "Test Host"),
        (b'NAME\nA B=c\n=x\n1=2\nPRETTY_NAME="Test Host"\n', "Test Host"),
        ("PRETTY_NAME=F\u0151tan\u00fas\n".encode(), "F\u0151tan\u00fas"),
        (b"PRETTY_NAME=F\xf5tan\n", "F\ufffdtan"),
        (b'PRETTY_NAME="a\x1b[31m b\x00c\td"\n', "a [31m b c d"),
        # a quote that does not end: systemd would take all that follows for the value, a shell for an error
        (b'PRETTY_NAME="Test Host\nID=x\n', "Test Host"),
        (b"PRETTY_NAME='Test Host\nID=x\n", "Test Host"),
        (b'PRETTY_NAME="Test Host\\"\nID=x\n', 'Test Host"'),
        (b"PRETTY_NAME=" + b"x" * 100_000 + b"\n", "x" * 200),
    ],
)
def test_a_name_is_read(text: bytes, name: str) -> None:
    assert os_release.parse(text)["PRETTY_NAME"] == name


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0" * 1000,
        bytes(range(256)) * 300,
        b"PRETTY_NAME",
        b"\xff\xfeP\0R\0E\0T\0T\0Y\0=\0x\0",
        b"PRETTY_NAME=\n",
    ],
)
def test_what_has_no_name_is_called_by_its_ref(tmp_path: Path, text: bytes) -> None:
    assert describe(tmp_path, text) == (REF, "linux")


@pytest.mark.parametrize(
    ("text", "os_id"),
    [
        (b"ID=fedora\r\n", "fedora"),
        (b'ID="Fedora"', "fedora"),
        (b"ID=a/../b", "linux"),
        (b"ID=", "linux"),
        (b"ID='opensuse-leap'", "opensuse-leap"),
    ],
)
def test_an_id_is_one_word(tmp_path: Path, text: bytes, os_id: str) -> None:
    assert describe(tmp_path, text + b"\nPRETTY_NAME=x\n") == ("x", os_id)


def describe(tmp_path: Path, text: bytes) -> tuple[str, str]:
    (tmp_path / "work").mkdir()
    repo = Repo.ensure(tmp_path / "repo")
    commit = make_commit(repo, tmp_path / "work", FILES | {"usr/lib/os-release": text})
    tree = stage.describe_tree(repo, stage.Pin(ref=REF, commit=commit))
    return tree.pretty_name, tree.os_id
