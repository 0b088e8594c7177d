"""What %pre writes counts as if it had been there."""

import contextlib
from pathlib import Path

import pytest

from imagebuild.deploy import prescript
from imagebuild.kickstart import source as language
from imagebuild.kickstart.plan import Plan
from imagebuild.kickstart.source import BadKickstartError
from tests.fake_sandbox import FakeSandbox
from tests.kickstart.language_samples import SOURCE, WHOLE, read, refused

NO_SOURCE = WHOLE.replace(SOURCE, "%include /tmp/source\n")
WRITES = "%pre\necho 'ostreesetup --osname=os' > /tmp/source\n%end\n"


def expanded(text: str, **answers: str) -> prescript.Expanded:
    sandbox = FakeSandbox(answers={f"/tmp/{name}": data.encode() for name, data in answers.items()})
    return prescript.expand_located(text, "F28", lambda: contextlib.nullcontext(sandbox), "test.ks")


def checked(text: str, refs: tuple[str, ...] = ("a/b",), *, signed: bool = False, **answers: str) -> Plan:
    whole = expanded(text, **answers)
    return read(whole.text, origin=whole.origin, refs=refs, signed=signed)


def test_an_ostreesetup_that_a_pre_section_writes_counts() -> None:
    assert checked(NO_SOURCE + WRITES, source=SOURCE).ref == "a/b"
    assert (
        checked(
            NO_SOURCE.replace("/tmp/source", "'/tmp/source' # why") + WRITES,
            source="%include /tmp/more\n",
            more=SOURCE,
        ).ref
        == "a/b"
    )


@pytest.mark.parametrize(
    ("written", "where", "complaint"),
    [
        (SOURCE + SOURCE, "/tmp/source:2", "there must be one ostreesetup line, not 2"),
        (SOURCE.replace("a/b", "a/c"), "/tmp/source:1", "the repo has no ref a/c"),
        ("# nothing\n", "test.ks", "there must be one ostreesetup line, not 0"),
        ("\n\nvnc\n" + SOURCE, "/tmp/source:3", "`vnc` is not executed"),
        (SOURCE.replace("--ref=a/b", "--ref=$REF"), "/tmp/source:1", "`$REF` was not filled in"),
        (
            "%include https://ks.example.org/x.ks\n" + SOURCE,
            "/tmp/source:1",
            "https://ks.example.org/x.ks: nothing is fetched",
        ),
        (
            "%pre\ntrue\n%end\n" + SOURCE,
            "test.ks:13",
            "a %pre section in a file that is included is never run",
        ),
    ],
)
def test_what_a_pre_section_writes_is_held_to_the_same(written: str, where: str, complaint: str) -> None:
    with pytest.raises(BadKickstartError) as caught:
        checked(NO_SOURCE + WRITES, source=written)
    assert any(
        message.startswith(f"{where}: ") and complaint in message
        for message in caught.value.message.split("\n")
    ), caught.value.message


def test_a_signed_commit_is_installed_as_such_also_when_a_pre_section_says_how() -> None:
    with pytest.raises(BadKickstartError, match=r"/tmp/source:1: ostreesetup: --nogpg although"):
        checked(NO_SOURCE + WRITES, source=SOURCE, signed=True)


def test_lines_behind_an_include_keep_their_own_numbers() -> None:
    with pytest.raises(BadKickstartError, match=rf"^test\.ks:{NO_SOURCE.count(chr(10)) + 4}: `vnc`"):
        checked(NO_SOURCE + WRITES + "vnc\n", source="#\n" * 50 + SOURCE)


def test_every_include_that_nobody_wrote_is_said() -> None:
    with pytest.raises(BadKickstartError) as caught:
        expanded(
            NO_SOURCE + "%include /tmp/other\n" + WRITES + "%post\n%include /tmp/third\n%end\n", source=SOURCE
        )
    count = NO_SOURCE.count("\n")
    assert caught.value.message.split("\n") == [
        f"test.ks:{count + 1}: %include /tmp/other: no %pre section wrote that file",
        f"test.ks:{count + 6}: %include /tmp/third: no %pre section wrote that file",
    ]


def test_a_script_has_what_a_pre_section_wrote_for_it() -> None:
    made = checked(WHOLE + WRITES + "%post\n%include /tmp/script\n%end\n", script="echo made\n")
    assert made.scripts[0].text.startswith("echo made\n")


def test_nothing_is_run_when_the_kickstart_is_wrong() -> None:
    def never() -> contextlib.AbstractContextManager[FakeSandbox]:
        raise AssertionError("a %pre section would be run")

    for line in ("frob\n", "%ksappend http://x/\n", "network --hostname=$h\n"):
        with pytest.raises(BadKickstartError, match=r"test\.ks:1: "):
            prescript.expand_located(line + WHOLE + WRITES, "F28", never, "test.ks")
    with pytest.raises(BadKickstartError, match=r"test\.ks:2: %include /etc/passwd"):
        prescript.expand_located("%pre\n%include /etc/passwd\n%end\n" + WHOLE, "F28", never, "test.ks")


def test_the_build_hosts_files_are_never_read(tmp_path: Path) -> None:
    """pykickstart follows an %include of sections too, into the files of the machine that it runs on."""
    (tmp_path / "secret").write_text("echo secret\n")
    text = f"%post\n%include {tmp_path / 'secret'}\n%end\n%include {tmp_path / 'secret'}\n"
    reading = language.parse(WHOLE + text, "F28", "test.ks", complete=False)
    assert not any("secret" in script.script for script in reading.handler.scripts)
    assert any(str(tmp_path) in each for each in refused(WHOLE + text))


def test_an_include_without_a_pre_section_is_looked_for_too(tmp_path: Path) -> None:
    """An installer's kickstart may include the medium's own files: they are in the live system's sandbox."""
    sandbox = FakeSandbox(answers={"/run/install/repo/base.ks": SOURCE.encode()})
    found = prescript.expand_located(
        WHOLE.replace(SOURCE, "%include /run/install/repo/base.ks\n"),
        "F28",
        lambda: contextlib.nullcontext(sandbox),
        "ks.cfg",
    )
    assert read(found.text).ref == "a/b"
