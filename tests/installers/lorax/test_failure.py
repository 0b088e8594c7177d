"""How lorax fails: with a disk full, a bad source, an error in a program; what is quoted then."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.installers.lorax import backend as lorax
from imagebuild.installers.lorax import failure as lorax_failure
from imagebuild.installers.lorax import sources as lorax_sources
from imagebuild.model import Tree
from tests.installers.lorax.lab import failure, fake, installer, needs_root, request, tree

__all__ = ["tree"]
# a library that can be driven, and the command of one that cannot
BOTH = pytest.mark.parametrize("generation", ["39.5", "26.9"])


@needs_root
@BOTH
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("exit", ["the volume id cannot be longer than 32 characters"]),
        (
            "raise",
            [
                "template command error in runtime-install.tmpl:",
                "  RuntimeError: Required installpkg failed.",
                "dracut: the last words of a program",
            ],
        ),
        (
            "full",
            [
                "  installing package a needs 20MB on the / filesystem",
                "   At least 213MB more space needed on the / filesystem.",
                "template command error in",
            ],
        ),
        ("crash", ["No space left on device"]),
    ],
)
def test_a_failure_quotes_what_lorax_said(
    tmp_path: Path, tree: Tree, generation: str, behaviour: str, words: list[str]
) -> None:
    error = failure(tmp_path, tree, generation, behaviour)
    assert error.message.startswith("lorax failed (exit status 1)")
    for each in words:
        assert f"    {each}" in error.message or (behaviour == "crash" and each in error.message), (
            error.message
        )
    for unwanted in ("Traceback", "^^^", 'File "', "template line 1"):
        assert unwanted not in error.message
    # once is enough
    assert error.message.count("Required installpkg failed") == (behaviour == "raise")
    assert "lorax.log" in error.hint


@needs_root
@BOTH
def test_a_bad_source_is_named_by_its_url(tmp_path: Path, tree: Tree, generation: str) -> None:
    sources = ["https://example.org/os", "https://me:secret@bad.example.org/os"]
    error = failure(tmp_path, tree, generation, "", sources=sources)
    assert "Error fetching metadata for lorax-repo-1" in error.message
    assert "lorax-repo-1 is https://bad.example.org/os" in error.message
    assert "lorax-repo-0 is" not in error.message
    assert "secret" not in error.message + error.hint
    assert not list(tmp_path.rglob("request.json")), "with the password in it"


@needs_root
@pytest.mark.parametrize(
    ("generation", "options", "message"),
    [
        ("24.22", {"rootfs_size": 3}, "has no option --rootfs-size"),
        ("26.9", {"ssl_verify": False}, "has no option --noverifyssl"),
        ("25.22", {"excludepkgs": ["a"]}, "has no option --excludepkgs"),
        ("26.9", {"rootfs_type": "squashfs"}, "squashfs-ext4 only"),
        ("29.0", {"skip_branding": True}, "has no option --skip-branding"),
        ("28.14.64", {"dnfplugins": ["x"]}, "does not know dnfplugins"),
    ],
)
def test_what_a_generation_cannot_do_is_said(
    tmp_path: Path, tree: Tree, generation: str, options: dict[str, object], message: str
) -> None:
    error = failure(tmp_path, tree, generation, "", **options)
    assert "exit status 3" in error.message
    assert message in error.message


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("OSError: [Errno 28] No space left on device", True),
        ("  installing package glibc-all-langpacks-2.25-6.fc26.x86_64 needs 108MB on the / filesystem", True),
        ("  installing package a-1-1.noarch needs 2KB more space on the /boot filesystem", True),
        ("  installing package a-1-1.noarch needs 7 inodes on the / filesystem", True),
        ("   At least 213MB more space needed on the / filesystem.", True),
        ("At least 2 GB more space needed on the /boot filesystem", True),
        ("Curl error (23): Failed writing received data to disk/application", True),
        ("cp: error writing 'x': Disk quota exceeded", True),
        ("RuntimeError: Required installpkg failed.", False),
        ("Curl error (6): Couldn't resolve host name", False),
    ],
)
def test_a_full_disk_is_known_by_everybodys_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, full: bool
) -> None:
    usage = namedtuple("usage", "total used free")
    for free, said in (
        (1 << 20, f"the file system of installer.lorax.tmp ({tmp_path}) is full"),
        (1 << 34, "root file system is too small"),
    ):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(1, 1, free))
        full_disk = lorax_failure.full_disk(text, {"installer.lorax.tmp": tmp_path})
        assert (said in full_disk if full_disk is not None else False) == full


@needs_root
def test_room_is_looked_for_before(tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    place, out = fake(tmp_path), tmp_path / "out"
    out.mkdir()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 3 << 30))
    with pytest.raises(
        BuildError,
        match=(
            r"lorax needs \d+\.\d GiB in installer\.lorax\.tmp .* and the store .*, where 3\.0 GiB are free:"
            r" 1\.0 GiB for its packages,"
        ),
    ):
        lorax.build(out, request(tmp_path, tree, installer(place)))
    assert not (place / "told.json").exists()
    with pytest.raises(BuildError, match=r"installer\.lorax\.tmp: /nowhere is not a directory"):
        lorax.build(out, request(tmp_path, tree, installer(place, tmp="/nowhere")))


@pytest.mark.parametrize("records", ["dated", "plain"])
def test_continuation_lines_belong_to_their_record(records: str) -> None:
    when = "2017-07-07 10:00:00,123 " if records == "dated" else ""
    text = (
        f"{when}INFO pylorax: not this\n  nor this\n{when}ERROR pylorax.ltmpl: Dependency check failed: \n"
        f" Problem: package a\n  - nothing provides b\n{when}DEBUG pylorax.ltmpl:   Traceback\n  nor"
        f" that\n{when}CRITICAL pylorax: the end\n"
    )
    assert lorax_failure.errors_in(text) == [
        "Dependency check failed: ",
        " Problem: package a",
        "  - nothing provides b",
        "the end",
    ]


# written by pylorax.executils of 26.9 when the image of the root file system is too small (mkrootfsimg: cp
# within a mount)
PROGRAMS = """2017-07-07 10:00:00,123 INFO program: Running... mkfs.ext4 -L Anaconda /dev/loop0
2017-07-07 10:00:00,123 DEBUG program: Return code: 0
2017-07-07 10:00:00,123 INFO program: Running... cp -a /root/. /var/tmp/lorax.imgutils.x
2017-07-07 10:00:00,123 INFO program: cp: error writing '/var/tmp/lorax.imgutils.x/a': No space left on device
2017-07-07 10:00:00,123 DEBUG program: Return code: 1
2017-07-07 10:00:00,123 INFO program: Running... umount /var/tmp/lorax.imgutils.x
2017-07-07 10:00:00,123 DEBUG program: Return code: 0
2017-07-07 10:00:00,123 INFO program: Running... losetup --detach /dev/loop0
2017-07-07 10:00:00,123 DEBUG program: Return code: 0
"""


def test_the_program_that_failed_is_quoted_not_those_that_tidied_up(tmp_path: Path) -> None:
    (tmp_path / "program.log").write_text(PROGRAMS)
    (tmp_path / "lorax.log").write_text("2017-07-07 10:00:00,123 ERROR pylorax: could not get the release\n")
    said = (
        'Traceback (most recent call last):\n  File "x", line 1, in main\n    run()\n   '
        " ^^^^^\nsubprocess.CalledProcessError: Command returned 1\n"
    )
    assert lorax_failure.reason(tmp_path, said).splitlines() == [
        "    could not get the release",
        "    subprocess.CalledProcessError: Command returned 1",
        "    Running... cp -a /root/. /var/tmp/lorax.imgutils.x",
        "    cp: error writing '/var/tmp/lorax.imgutils.x/a': No space left on device",
        "    Return code: 1",
    ]


def test_times_are_set_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".discinfo").write_text("1501000000.123456\n26\nx86_64\n")
    (tmp_path / ".treeinfo").write_text(
        "[general]\ntimestamp = 1501000000.12\nfamily = Fedora\n\n[stage2]\nmainimage ="
        " images/install.img\n\n"
    )
    lorax.set_times(tmp_path, 7)
    assert (tmp_path / ".discinfo").read_text() == "7.000000\n26\nx86_64\n"
    assert (
        (tmp_path / ".treeinfo").read_text()
        == "[general]\ntimestamp = 7\nfamily = Fedora\n\n[stage2]\nmainimage = images/install.img\n\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Cannot download https://me:secret@example.org/os/repodata/repomd.xml",
        "for http://me:secret@h:80?x",
        "via me:secret@proxy.example.org:3128",
        "repo: 'https://me:se%40secret@x/'",
        "https://me:s@secret@example.org/os",
    ],
)
def test_no_password_is_quoted_wherever_it_stands(text: str) -> None:
    """Of .repo files, too, which only dnf reads."""
    said = lorax_sources.without_logins(
        text,
        ["http://[half", "https://example.org/a@b"]
        + (["me:secret@proxy.example.org:3128"] if "via" in text else []),
    )
    assert "secret" not in said
    assert said == text.replace(text[text.index("me:") : text.rindex("@") + 1], "")
