"""Our templates for lorax, run line by line as lorax runs them, and the variables that its versions give to
templates.
"""

import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from mako.lookup import TemplateLookup

from imagebuild.errors import BuildError
from imagebuild.installers.lorax import backend as lorax
from imagebuild.installers.lorax import variables as lorax_variables
from imagebuild.installers.lorax.options import LoraxConfig
from imagebuild.kickstart import source as language
from imagebuild.model import Tree
from imagebuild.tools.ostree.repository import Repo
from tests.data import ROOT
from tests.evil_names import NAMES
from tests.installers.lorax.lab import (
    fake,
    installer,
    needs_root,
    request,
)  # a fixture

TEMPLATES = ROOT / "templates" / "lorax"
# Anaconda's data/interactive-defaults.ks of the branches f25-release … f29-release, and of main (45.21): what
# is to stay
POLICY = (
    "pwpolicy root --notstrict --minlen=6 --minquality=1 --nochanges --{root}\npwpolicy user --notstrict"
    " --minlen=6 --minquality=1 --nochanges --emptyok"
)
SHIPPED = {
    "F26": (
        "auth --enableshadow --passalgo=sha512\nfirstboot"
        f" --enable\n\n%anaconda\n{POLICY.format(root='emptyok')}\n%end\n"
    ),
    "F28": f"firstboot --enable\n\n%anaconda\n{POLICY.format(root='notempty')}\n%end\n",
    "F40": "# Kickstart defaults file for an interactive install.\n",
}


def expanded(word: str) -> Iterator[str]:
    """Expand braces as lorax 26.9 … 46.0 does, in quotes, too (src/pylorax/ltmpl.py, brace_expand)."""
    if not ("{" in word and "," in word and "}" in word):
        yield word
        return
    close = word.index("}")
    begin = word[:close].rindex("{")
    for choice in word[begin + 1 : close].split(","):
        yield from expanded(word[:begin] + choice + word[close + 1 :])


def run_template(name: str, variables: Mapping[str, str]) -> None:
    """Run a template as lorax does: rendered, split at whatever ends a line, each line's words by shlex, then
    braces (ltmpl.py).
    """
    text = TemplateLookup(directories=["/"]).get_template(str(TEMPLATES / name)).render(**variables)
    for line in [line.strip() for line in text.splitlines()]:
        if line and not line.startswith("#"):
            command, *words = [each for word in shlex.split(line) for each in expanded(word)]
            assert command == "runcmd", line
            subprocess.run(words, check=True, cwd="/")


def defaults(place: Path, text: str, shipped: str | None) -> str:
    """Return interactive-defaults.ks of an installer's root after our template; `shipped` is what was there
    before.
    """
    root = place / "root"
    file = root / "usr/share/anaconda/interactive-defaults.ks"
    if shipped is not None:
        file.parent.mkdir(parents=True)
        file.write_text(shipped)
    (place / "ours.ks").write_text(text)
    for number in range(2):
        (place / f"0{number}.gpg").write_text("key")
    run_template(
        "interactive-defaults.tmpl",
        {
            "root": str(root),
            "ostree_defaults": str(place / "ours.ks"),
            "ostree_keys": f"{place}/00.gpg\n{place}/01.gpg",
        },
    )
    assert [
        (file.name, file.read_text()) for file in sorted((root / "usr/share/ostree/trusted.gpg.d").iterdir())
    ] == [("00.gpg", "key"), ("01.gpg", "key")]
    return file.read_text()


@pytest.mark.parametrize("release", [25, 26, 27, 28, 29])
def test_the_releases_defaults_are_extended(tmp_path: Path, release: int) -> None:
    shipped = SHIPPED["F26" if release < 28 else "F28"]
    made = defaults(
        tmp_path, (ROOT / "tests" / "golden" / f"fedora-{release}-interactive.ks").read_text(), shipped
    )
    assert made.startswith(shipped)
    # as Anaconda reads it
    handler = language.parse(made, f"F{release}", "interactive-defaults.ks").handler
    assert handler.firstboot.seen
    assert handler.ostreesetup.url == "file:///ostree/repo"
    assert "cloud-init" in handler.services.disabled
    # nothing is erased, chosen or ended without a person
    assert not handler.zerombr.zerombr
    assert not any(
        getattr(handler, name).seen
        for name in ("clearpart", "autopart", "reboot", "partition", "logvol", "volgroup", "reqpart")
    )
    assert not handler.displaymode.seen
    assert made.count("%post --erroronfail") == 2
    assert made.count("ostree remote add") == 1


@pytest.mark.parametrize(
    "line",
    [
        "zerombr",
        "clearpart --all --initlabel",
        "  clearpart --linux",
        "\tautopart --type=lvm",
        "part / --size=1",
        "partition / --size=1",
        "reqpart --add-boot",
        "volgroup a pv.01",
        "logvol / --vgname=a --name=b --size=1",
        "raid / --level=1 --device=0 raid.01",
        "btrfs none --label=a x",
        "mount /dev/sda1 /",
        "snapshot a/b --name=c --when=post-install",
        "nvdimm reconfigure --namespace=a --mode=sector",
        "reboot --eject",
        "halt",
        "poweroff",
        "shutdown",
        "text",
        "text --non-interactive",
        "cmdline",
        "graphical",
        "autostep",
        "auth --enablemd5",
        "authselect select sssd",
        '"clearpart" --all',
        "'zerombr'",
    ],
)
def test_what_a_person_decides_is_left_out(tmp_path: Path, line: str) -> None:
    made = defaults(tmp_path, f"{line}\nkeyboard de\n", SHIPPED["F40"])
    assert made == SHIPPED["F40"] + "\nkeyboard de\n"


@pytest.mark.parametrize(
    "text",
    [
        "ignoredisk --drives=sda\n",
        "firstboot --disable\n",
        "rootpw --lock\n",
        "user --name=ada\n",
        "bootloader --append='reboot=bios'\n",
        "%post\nreboot\nclearpart --all\n%end\n",
        "%pre\n  zerombr\n%end\nlang de_DE\n",
        "%addon org_fedora_oscap\n  text\n%end\n",
        "%include /tmp/parts\n",
        "  %post --interpreter=/bin/sh\nhalt\n  %end\n",
        "timezone Europe/Berlin\n# zerombr\n",
        "%post\necho 'a\\nb' \u00e4 ${x,,} \"$(y)\" `z`\n%end\n",
    ],
)
def test_everything_else_is_kept_as_it_is(tmp_path: Path, text: str) -> None:
    assert defaults(tmp_path, text, SHIPPED["F40"]) == SHIPPED["F40"] + "\n" + text


@pytest.mark.parametrize(
    "shipped", [None, "", "firstboot --enable"], ids=["none", "empty", "without an end of its last line"]
)
def test_whatever_the_release_ships(tmp_path: Path, shipped: str | None) -> None:
    made = defaults(tmp_path, "%include /tmp/a\nreboot\nlang de_DE\n", shipped)
    assert made == (shipped or "") + "\n%include /tmp/a\nlang de_DE\n"


@pytest.mark.parametrize("name", NAMES)
def test_templates_work_wherever_the_store_is(tmp_path: Path, origin: tuple[Path, str], name: str) -> None:
    place = tmp_path / name
    place.mkdir()
    subprocess.run(["cp", "-r", origin[0], place / "source"], check=True)
    variables = {
        "root": f"{place}/root",
        "ostree_source": f"{place}/source",
        "ostree_ref": "a/b",
        "ostree_commit": origin[1],
    }
    run_template("embed-repo.tmpl", variables)
    repo = Repo(place / "root" / "ostree" / "repo")
    assert (repo.refs(), repo.mode, repo.has(origin[1])) == ({"a/b": origin[1]}, "bare", True)
    assert (place / "root/ostree/repo/summary").exists()
    assert defaults(place, "lang de_DE\n", "") == "\nlang de_DE\n"


# --- variables ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "branding", "libdir", "extra"),
    [
        # tags lorax-VERSION-1 in which src/pylorax/treebuilder.py was read
        ("24.22", False, True, False),
        ("26.9", False, True, False),
        ("28.27", False, True, False),
        ("29.27", False, True, False),
        ("29.28", False, True, True),
        ("33.11", False, True, True),
        ("34.10", False, True, True),
        ("34.11", True, True, True),
        ("39.5", True, True, True),
        ("43.4", True, True, True),
        ("43.5", True, False, True),
        ("46.0", True, False, True),
        # RHEL 8 and 9
        ("28.14.24", False, True, False),
        ("28.14.25", False, True, True),
        ("28.14.68", False, True, True),
        ("28.14.69", True, True, True),
        ("34.9.0", False, True, True),
        ("34.9.1", True, True, True),
        ("40.5.19", True, True, True),
    ],
)
def test_what_a_version_gives(version: str, branding: bool, libdir: bool, extra: bool) -> None:
    known = lorax_variables.version_of(f"num = '{version}-1'\n")
    runtime, arch = lorax_variables.given(known), lorax_variables.given(known, arch=True)
    assert ("branding" in runtime, "libdir" in runtime, "libdir" in arch, "extra_boot_args" in arch) == (
        branding,
        libdir,
        libdir,
        extra,
    )
    assert {"root", "product", "arch", "dbo", "basearch", "exists", "glob"} <= runtime
    assert {"inroot", "outroot", "isolabel", "workdir", "lower"} <= arch


def test_of_a_version_that_is_not_known_everything_is_taken() -> None:
    assert lorax_variables.version_of("") is None
    assert {"branding", "libdir"} <= lorax_variables.given(None)


@pytest.mark.parametrize("name", sorted(lorax_variables.RESERVED))
def test_reserved_names_are_refused_in_the_configuration(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}: lorax itself gives templates"):
        LoraxConfig(variables={name: "x", "mine": "y"})


def test_other_names_are_taken() -> None:
    assert LoraxConfig(variables={"mine": "y", "root_size": "3", "Product": "x"}).variables["Product"] == "x"


@needs_root
@pytest.mark.parametrize(
    ("version", "name"), [("26.9", "branding"), ("33.11", "branding"), ("46.0", "libdir")]
)
def test_what_this_lorax_does_not_give_is_said_before_it_runs(
    tmp_path: Path,
    tree: Tree,
    version: str,
    name: str,
) -> None:
    place = fake(tmp_path, version)
    (tmp_path / "own.tmpl").write_text(f"runcmd echo ${{{name}}}\n")
    config = installer(place, templates=[str(tmp_path / "own.tmpl")])
    with pytest.raises(BuildError, match=f"uses {name}, which nothing defines") as caught:
        lorax.build(tmp_path, request(tmp_path, tree, config))
    assert f"this lorax does not give templates {name}" in caught.value.hint
    assert not (place / "told.json").exists()
