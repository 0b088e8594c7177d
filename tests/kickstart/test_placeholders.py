"""Placeholders of templates, scripts that look like commands, from the template to the plan."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from imagebuild.config.tree import TreeConfig
from imagebuild.deploy import prescript
from imagebuild.kickstart import source as language
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.stages import kickstart
from tests.kickstart.language_samples import (
    DISK,
    HEAD,
    LAST,
    ROOT_VOLUME,
    SOURCE,
    WHOLE,
    made,
    read,
    refused,
    template,
)


@pytest.mark.parametrize(
    "script",
    [
        "%post\ncat > /root/README <<EOF\nostreesetup --osname=x was used\n\nEOF\n%end\n",
        "%pre\nostreesetup() { true; }\n%end\n",
        "%post\n  ostreesetup\n%end\n",
        "# ostreesetup --osname=x\n",
        "  # ostreesetup\n",
    ],
)
def test_a_script_may_have_a_line_that_begins_with_a_command(script: str) -> None:
    reading = language.parse(prescript.without_includes(WHOLE + script), "F28", "test.ks")
    language.checks(reading, WHOLE + script, ["a/b"], signed=False, name="test.ks")
    assert read(WHOLE + script, refs=("a/b",)).ref == "a/b"


def test_ostreesetup_may_be_indented_and_quoted() -> None:
    assert read(WHOLE.replace("ostreesetup", "  'ostreesetup'"), refs=("a/b",)).ref == "a/b"
    assert refused(WHOLE + SOURCE, refs=("a/b",))[0].startswith(
        f"test.ks:{LAST + 1}: there must be one ostreesetup line, not 2"
    )


KNOWN = {"osname": "os", "remote": "up", "ref": "a/b", "url": "https://x/", "basearch": "x86_64", "nogpg": ""}


@pytest.fixture
def rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A template, filled in."""
    monkeypatch.setattr(kickstart, "shared_directory", lambda _: tmp_path)

    def render(text: str) -> str:
        (tmp_path / "x.ks").write_text(text)
        return kickstart.render(template(), dict(KNOWN))

    return render


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ostreesetup --ref=${ref} --url=${url}\n", "ostreesetup --ref=a/b --url=https://x/\n"),
        (
            "ostreesetup --ref=fedora/26/${basearch}/atomic-host\n",
            "ostreesetup --ref=fedora/26/x86_64/atomic-host\n",
        ),
        ("# ${nothing} of ${ref}\n", "# ${nothing} of a/b\n"),
        ('%post\nname=$(uname -n); echo "${name}" > /root/x\n%end\n', None),
        ("%post\necho ${name} ${name:-x} ${name%%.*} $name ${NAME} ${name_2} ${#name}\n%end\n", None),
        ("%post\necho ${remote} '${ref}'\n%end\n", "%post\necho up 'a/b'\n%end\n"),
        ("%pre\nurl=$(cat /proc/cmdline); echo ${url}\n%end\n", None),
        (
            "%post\necho ${url}\nurl=x\necho ${url}\n%end\n",
            "%post\necho https://x/\nurl=x\necho ${url}\n%end\n",
        ),
        ("%post\nurl=${url}\necho ${url}\n%end\n", "%post\nurl=https://x/\necho https://x/\n%end\n"),
        (
            '%post\nexport url="${url}"\necho ${url}\n%end\n',
            '%post\nexport url="https://x/"\necho https://x/\n%end\n',
        ),
        ("%post\nfor ref in a b; do echo ${ref}; done\n%end\n", None),
        ("%post\nlocal remote; read -r remote < x; echo ${remote}\n%end\n", None),
        ("%post\nwhile read -r a url; do echo ${url}; done\n%end\n", None),
        ("%post\nselect ref in a b; do echo ${ref}; done\n%end\n", None),
        (
            (
                "%post\nprintf -v ref %s x; mapfile -t url < x; : ${remote:=y}; getopts x osname\necho ${ref}"
                " ${url} ${remote} ${osname}\n%end\n"
            ),
            None,
        ),
        (
            "%post\n# read the ref, set url=x\nread -r x < /etc/${ref}/url\necho ${ref}\n%end\n",
            "%post\n# read the ref, set url=x\nread -r x < /etc/a/b/url\necho a/b\n%end\n",
        ),
        (
            "%post\nostree remote add --set=url=${url} ${remote}\n%end\n",
            "%post\nostree remote add --set=url=https://x/ up\n%end\n",
        ),
        (
            "%post\nurl=x\n%end\n%post\necho ${url}\n%end\n",
            "%post\nurl=x\n%end\n%post\necho https://x/\n%end\n",
        ),
        ("%post\necho $${ref} ${ref}\n%end\n", "%post\necho ${ref} a/b\n%end\n"),
        ("%post\necho $${other}\n%end\n", None),
        (
            "%pre\necho 'ostreesetup --osname=${osname} ${nogpg}' > /tmp/source\n%end\n",
            "%pre\necho 'ostreesetup --osname=os ' > /tmp/source\n%end\n",
        ),
        ("%post --interpreter=/usr/bin/python3\nprint(f'${x}')\n%end\n", None),
    ],
)
def test_only_our_own_placeholders_are_replaced(
    rendered: Callable[[str], str], text: str, expected: str | None
) -> None:
    assert rendered(text) == (text if expected is None else expected)


def test_a_placeholder_that_nobody_has_is_refused_in_commands_all_of_them(
    rendered: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "part.ks").write_text("text\nlang ${lang}\n")
    with pytest.raises(BadKickstartError) as caught:
        rendered("keyboard ${keys}\n%include 'part.ks'\n%post --log=${log}\necho ${fine}\n%end\nfrob\n")
    lines = [
        message.split(" is not a ")[0].split(" in --syntax")[0]
        for message in caught.value.message.split("\n")
    ]
    assert sorted(lines) == [
        "part.ks:2: ${lang}",
        "x.ks:1: ${keys}",
        "x.ks:3: ${log}",
        "x.ks:6: Unknown command `frob`",
    ]
    assert caught.value.hint.startswith("these are: basearch, nogpg, osname")


def test_an_error_names_the_templates_own_file_and_line(
    rendered: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "part.ks").write_text("lang en_US.UTF-8\nfrob\n")
    rendered("text\n%include part.ks\nautopart --nosuch\n")
    filled = kickstart.fill_in(template(), KNOWN)
    source = TreeConfig(
        url="https://x/",
        osname="os",
        remote="up",
        update_url="https://x/",
        update_gpg_key="/k",
        allow_unsigned=True,
    )
    with pytest.raises(BadKickstartError) as caught:
        kickstart.check(filled, template(), "a/b", source)
    assert [message.split(": ")[0] for message in caught.value.message.split("\n")] == [
        "part.ks:2",
        "x.ks:3",
        "x.ks",
    ]
    assert PurePosixPath(filled.origin[1][0]).name == "part.ks"


PRE = (
    HEAD
    + DISK
    + ROOT_VOLUME
    + "%include /tmp/source\n%pre\necho 'ostreesetup --osname=${osname} --ref=${ref}' > /tmp/source\n%end\n"
)


def test_a_template_whose_pre_section_says_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made(PRE, tmp_path, monkeypatch, source=SOURCE.replace(" --nogpg", "")).ref == "a/b"


@pytest.mark.parametrize(
    ("text", "source", "message"),
    [
        (PRE, SOURCE, "/tmp/source:1: ostreesetup: --nogpg although"),
        (PRE, SOURCE.replace("a/b", "a/c"), "/tmp/source:1: ostreesetup: the repo has no ref a/c"),
        (PRE + "vnc\n", SOURCE.replace(" --nogpg", ""), "x.ks:17: `vnc` is not executed"),
        (
            PRE.replace("/tmp/source\n%pre", "/tmp/other\n%pre"),
            SOURCE,
            "x.ks:13: %include /tmp/other: no %pre section wrote that file",
        ),
        (PRE + "%ksappend /x\n", SOURCE, "x.ks:17: %ksappend /x"),
        (HEAD + DISK + ROOT_VOLUME, "", "x.ks: there must be one ostreesetup line, not 0"),
        (
            HEAD + DISK + ROOT_VOLUME + "%include /tmp/source\n",
            SOURCE,
            "x.ks:13: %include /tmp/source: there is no such file",
        ),
    ],
)
def test_an_error_names_the_template_or_the_file_that_was_written(
    text: str, source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadKickstartError) as caught:
        made(text, tmp_path, monkeypatch, source=source)
    assert message in caught.value.message, caught.value.message


def test_a_shells_variable_comes_to_the_script_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        'name=$(uname -n); echo "${name}" > /root/x\ncat > /root/README <<EOF\nostreesetup of'
        " ${osname}\n\nEOF\n"
    )
    planned = made(
        WHOLE.replace(SOURCE, "ostreesetup --osname=${osname} --url=${url} --ref=${ref} ${nogpg}\n")
        + f"%post\n{script}%end\n",
        tmp_path,
        monkeypatch,
    )
    assert planned.scripts[0].text == script.replace("${osname}", "os")
