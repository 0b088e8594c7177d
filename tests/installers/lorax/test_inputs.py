"""What decides what lorax makes: everything of it is in the step's key, read before anything is built; and
which lorax is the right one.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from imagebuild.config.installer import InstallerConfig, LoraxConfig
from imagebuild.errors import BuildError, UsageError
from imagebuild.installers.lorax import backend as lorax
from imagebuild.installers.lorax import inputs as lorax_inputs
from imagebuild.installers.lorax import sources as lorax_sources
from imagebuild.installers.lorax.about import About, misfit
from imagebuild.installers.registry import choose
from imagebuild.release_line import reading as configuration
from imagebuild.session import doctor
from imagebuild.tools import web
from tests.data import ROOT
from tests.installers.lorax.lab import fake, installer, needs_root
from tests.wiring import changed, wired

REPOMD = """<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>{revision}</revision>
  <data type="primary"><checksum type="sha256">{primary}</checksum><timestamp>{revision}</timestamp></data>
  <data type="filelists"><checksum type="sha256">aa</checksum></data>
  <data type="updateinfo"><checksum type="sha256">{updateinfo}</checksum></data>
</repomd>
"""
# the shape of what MirrorManager answers: the newest file's hashes, then those that mirrors may still have,
# as mm0:alternates
METALINK = """<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" xmlns:mm0="http://fedorahosted.org/mirrormanager">
 <files><file name="repomd.xml"><size>1</size>
  <verification><hash type="md5">m</hash><hash type="sha256">{newest}</hash></verification>
  <mm0:alternates><mm0:alternate><verification><hash type="sha256">old</hash></verification></mm0:alternate></mm0:alternates>
  <resources maxconnections="1"><url protocol="https">https://mirror.example.org/repodata/repomd.xml</url></resources>
 </file></files>
</metalink>
"""  # noqa: E501


def repository(place: Path, primary: str = "11", revision: int = 1, updateinfo: str = "22") -> str:
    (place / "repodata").mkdir(parents=True, exist_ok=True)
    (place / "repodata" / "repomd.xml").write_text(
        REPOMD.format(primary=primary, revision=revision, updateinfo=updateinfo)
    )
    return f"file://{place}"


def contents(**options: Any) -> dict[str, str]:
    return lorax_sources.contents(LoraxConfig.model_validate(options), release="26", arch="x86_64")


# --- repositories -------------------------------------------------------------------------------------------


def test_new_packages_are_other_content_and_nothing_else_is(tmp_path: Path) -> None:
    url = repository(tmp_path / "os dir")
    url = url.replace(" ", "%20")
    before = contents(sources=[url])
    assert list(before) == [f"packages of {url}"]
    # made again of the same packages, with other errata
    repository(tmp_path / "os dir", revision=2, updateinfo="33")
    assert contents(sources=[url, url]) == before
    assert contents(sources=[url + "/"]) == before
    repository(tmp_path / "os dir", primary="12")
    assert contents(sources=[url]) != before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file or directory"),
        ("", "is not XML"),
        ("<html><body>404</body></html>", "names no packages"),
        ("<repomd/>", "names no packages"),
        ('<?xml version="1.0" encoding="x-none"?><repomd/>', "is not XML: unknown encoding"),
        ('<!DOCTYPE repomd [<!ENTITY a "b">]><repomd>&a;</repomd>', "has a document type"),
        ("x" * (9 << 20), "larger than 8 MiB"),
    ],
)
def test_a_source_that_cannot_be_read_is_an_error_with_its_url(
    tmp_path: Path, text: str | None, why: str
) -> None:
    url = repository(tmp_path)
    file = tmp_path / "repodata" / "repomd.xml"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(BuildError, match="cannot be read") as caught:
        contents(sources=[url])
    assert f"{url}/repodata/repomd.xml" in caught.value.message
    assert why in caught.value.message
    assert "installer.backend: live" in caught.value.hint


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, bytes]], str]]:
    """Servers with answers, which return their URLs."""
    # whatever proxy this machine has
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with contextlib.ExitStack() as open_until_the_end:

        def start(answers: dict[str, bytes]) -> str:
            def look(path: str) -> web.Found | None:
                return ("text/plain", answers[path]) if path in answers else None

            return f"http://127.0.0.1:{open_until_the_end.enter_context(web.serving(look))}"

        yield start


def repomd(primary: str = "11") -> bytes:
    return REPOMD.format(primary=primary, revision=1, updateinfo="22").encode()


def test_a_mirror_list_is_its_first_mirror_that_answers(serve: Callable[[dict[str, bytes]], str]) -> None:
    mirror = serve({"/good/repodata/repomd.xml": repomd()})
    mirrors = f"# repo = fedora-26\n{mirror}/gone/\n{mirror}/good/\n".encode()
    server = serve({"/list": mirrors})
    found = contents(mirrors=[f"{server}/list?repo=fedora-26&arch=x86_64"])
    assert list(found.values()) == list(contents(sources=[f"{mirror}/good"]).values())
    # not one address; then another
    half = serve({"/list": f"http://[half/\n{mirror}/good\n".encode()})
    assert list(contents(mirrors=[f"{half}/list"]).values()) == list(found.values())
    empty = serve({"/list": b"# no mirrors\n"})
    with pytest.raises(BuildError, match="lists no mirror"):
        contents(mirrors=[f"{empty}/list"])
    with pytest.raises(BuildError, match="the server says 404"):
        contents(mirrors=[f"{empty}/none"])


def test_a_metalink_has_the_checksum_itself(serve: Callable[[dict[str, bytes]], str]) -> None:
    server = serve({"/metalink": METALINK.format(newest="new").encode()})
    assert list(contents(mirrors=[f"{server}/metalink"]).values()) == ["new"]
    broken = serve({"/metalink": b"<metalink/>"})
    with pytest.raises(BuildError, match="is not a metalink"):
        contents(mirrors=[f"{broken}/metalink"])


def test_nothing_is_said_of_passwords(serve: Callable[[dict[str, bytes]], str]) -> None:
    server = serve({"/os/repodata/repomd.xml": repomd()})
    secret = server.replace("http://", "http://me:secret@")
    assert list(contents(sources=[f"{secret}/os"])) == [f"packages of {server}/os"]
    with pytest.raises(BuildError) as caught:
        contents(sources=["http://me:secret@127.0.0.1:1/os"])
    assert "secret" not in caught.value.message


def test_a_server_that_does_not_answer_costs_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[[dict[str, bytes]], str]
) -> None:
    asked: dict[str, Any] = {}

    def get(url: str, **options: Any) -> None:
        asked.update(options)
        raise requests.ConnectTimeout("it took too long")

    monkeypatch.setattr(requests, "get", get)
    with pytest.raises(BuildError, match="it took too long"):
        contents(sources=["https://example.org/os"], proxy="proxy.example.org:3128", ssl_verify=False)
    assert asked["timeout"] == (10.0, 30.0)
    assert asked["proxies"] == {
        "http": "http://proxy.example.org:3128",
        "https": "http://proxy.example.org:3128",
    }
    assert asked["verify"] is False


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("[a]\nbaseurl=@/26/x86_64\n", {}, ["a"]),
        ("[a]\nbaseurl=@/$releasever/${basearch}\n[b]\nbaseurl = @/none\n    @/26/x86_64\n", {}, ["a", "b"]),
        ("[a]\nbaseurl=@/$releasever_major/$basearch\n", {}, ["a"]),
        ("[a]\nbaseurl=@/none, @/26/x86_64\nenabled=1\n[b]\nbaseurl=@/none\nenabled = 0\n", {}, ["a"]),
        ("[main]\ngpgcheck=0\n[a]\nbaseurl=@/26/x86_64\nenabled=0\n", {"enable_repos": ["a"]}, ["a"]),
        (
            "[a]\nbaseurl=@/26/x86_64\n[b-debuginfo]\nbaseurl=@/none\n",
            {"disable_repos": ["b-debuginfo"]},
            ["a"],
        ),
        (
            "[a]\nbaseurl=@/26/x86_64\n[b-debuginfo]\nbaseurl=@/none\n",
            {"disable_repos": ["*-debuginfo"]},
            ["a"],
        ),
        (
            "[copr:h.org:u:p]\nbaseurl=@/26/x86_64\nenabled=0\n[b]\nbaseurl=@/none\n",
            {"enable_repos": ["copr:*"], "disable_repos": ["[!c]"]},
            ["copr:h.org:u:p"],
        ),
        ("[a]\nmetalink=@/none\nbaseurl=@/26/x86_64\n", {}, ["a"]),
        ("[a]\nbaseurl=@/none\nskip_if_unavailable=True\n", {}, ["a"]),
        ("[a]\nbaseurl=@/26/$arch\nname=100% of it; %(x)s\n", {}, ["a"]),
    ],
)
def test_repo_files_are_read_as_dnf_does(
    tmp_path: Path, text: str, options: dict[str, Any], expected: list[str]
) -> None:
    repository(tmp_path / "26" / "x86_64")
    file = tmp_path / "mine.repo"
    file.write_text(text.replace("@", f"file://{tmp_path}"))
    assert list(contents(repos=[str(file)], **options)) == [
        f"packages of [{name}] of mine.repo" for name in expected
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("baseurl=x\n", "cannot be read as a .repo file"),
        ("", "no package source is enabled in mine.repo"),
        ("[a]\nbaseurl=https://example.org/os\nenabled=0\n", "no package source is enabled in mine.repo"),
        ("[a]\nname=b\n", r"\[a\] has neither baseurl, mirrorlist nor metalink"),
        ("\xff\xfe", "cannot be read as a .repo file"),
        ("[a]\nbaseurl=ftp://example.org/os\n", "only http, https and file"),
        ("[a]\nbaseurl=https://example.org/$unknown/os\n", r"example.org/\$unknown/os"),
        ("[a]\nbaseurl=http://u:p@[half/os\n", r"http://\[half/os: Invalid IPv6 URL"),
        ("[a]\nmirrorlist=http://[half/list\n", r"http://\[half/list"),
    ],
)
def test_a_repo_file_that_is_none_is_said(
    tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "get", lambda *_, **__: (_ for _ in ()).throw(OSError("offline")))
    file = tmp_path / "mine.repo"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(BuildError, match=message):
        contents(repos=[str(file)])
    with pytest.raises(UsageError, match="cannot be read"):
        contents(repos=[str(tmp_path / "none.repo")])


def test_lorax_without_a_source_is_said_before_anything() -> None:
    with pytest.raises(UsageError, match="no package source is configured"):
        contents()


@pytest.mark.parametrize("key", ["sources", "mirrors"])
def test_what_lorax_would_skip_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="silently skips"):
        LoraxConfig.model_validate({key: ["https://example.org/mirrorlist?repo=updates-srpm"]})


# --- the key ------------------------------------------------------------------------------------------------


@needs_root
def test_everything_that_decides_is_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = fake(tmp_path, "29.28")
    template, repo_file, conf = tmp_path / "mine.tmpl", tmp_path / "my.repo", tmp_path / "lorax.conf"
    url = repository(tmp_path / "os")
    own = tmp_path / "shared" / "lorax"
    own.mkdir(parents=True)
    monkeypatch.setattr(lorax_inputs, "shared_directory", lambda _: own.parent)
    for file in (template, own / "embed-repo.tmpl", own / "interactive-defaults.tmpl"):
        file.write_text("runcmd true\n")
    repo_file.write_text(f"[a]\nbaseurl={url}\n")
    conf.write_text("[lorax]\n")
    config = installer(
        place,
        sources=[url],
        templates=[str(template)],
        arch_templates=[str(template)],
        repos=[str(repo_file)],
        conf_file=str(conf),
    )

    def key() -> dict[str, str]:
        return lorax_inputs.inputs(config, "29", "x86_64")

    def touch(file: Path) -> Callable[[], object]:
        return lambda: file.write_text(file.read_text() + "# more\n")

    changes: dict[str, Callable[[], object]] = {
        "template embed-repo.tmpl": touch(own / "embed-repo.tmpl"),
        f"template {template}": touch(template),
        f"package sources {repo_file}": touch(repo_file),
        f"configuration {conf}": touch(conf),
        f"templates {place / 'share'}": touch(place / "share/templates.d/99-generic/x86.tmpl"),
        "lorax": lambda: (place / "pylorax/version.py").write_text('num = "29.30-1"\n'),
        f"packages of {url}": lambda: repository(tmp_path / "os", primary="13"),
    }
    for name, change in changes.items():
        before = key()
        change()
        after = key()
        expected = {name, "packages of [a] of my.repo"} if name.startswith("packages") else {name}
        assert {each for each in after if after[each] != before[each]} == expected
    (place / "share" / "new.tmpl").symlink_to("x86.tmpl")
    assert key() != after
    assert key()["lorax"] == f"29.30-1 ({place}/pylorax)"
    assert "child.py" in key()


@needs_root
def test_the_iso_is_made_again_when_packages_change_and_does_not_wait_for_the_toolbox(tmp_path: Path) -> None:
    settings = configuration.load(ROOT / "configs" / "fedora-29.yaml", tmp_path)
    place = fake(tmp_path, "29.28")
    url = repository(tmp_path / "os")
    plain = settings.model_copy(
        update={
            "installer": (
                installer(place, sources=[url], sharedir=None).model_copy(
                    update={"defaults": "interactive", "unattended": "installer"}
                )
            )
        }
    )
    before = wired(plain)
    iso = next(iter(before.isos))
    from imagebuild.engine.steps import inputs

    assert {one.name for one in inputs(iso)} == {"pull", "kickstart interactive", "kickstart installer"}
    assert iso.tools[f"packages of {url}"]
    repository(tmp_path / "os", primary="14")
    found = changed(before, wired(plain))
    assert "installer iso" in found
    assert not {"pull", "toolbox", "disk cloud"} & found
    (tmp_path / "os/repodata/repomd.xml").unlink()
    with pytest.raises(BuildError, match="cannot be read"):
        wired(plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"templates": ["/nowhere/x.tmpl"]}, "/nowhere/x.tmpl cannot be read"),
        ({"conf_file": "/nowhere/lorax.conf"}, "/nowhere/lorax.conf cannot be read"),
        ({"sharedir": "/nowhere"}, "there is no directory /nowhere"),
        ({"repos": ["/nowhere/x.repo"]}, "/nowhere/x.repo cannot be read"),
    ],
)
def test_what_is_not_there_is_said_before_anything(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    config = installer(tmp_path, **{"sharedir": None, "sources": [repository(tmp_path / "os")], **options})
    with pytest.raises(UsageError, match=message):
        lorax_inputs.inputs(config, "29", "x86_64")


def test_lorax_conf_says_where_the_templates_are(tmp_path: Path) -> None:
    conf = tmp_path / "lorax.conf"
    conf.write_text("[lorax]\nsharedir = /srv/lorax\n[compression]\ntype = xz\nargs = 100%\n")
    assert lorax_inputs.shared(LoraxConfig(conf_file=str(conf))) == Path("/srv/lorax")
    assert lorax_inputs.shared(LoraxConfig(conf_file=str(conf), sharedir="/mine")) == Path("/mine")
    assert lorax_inputs.shared(LoraxConfig(conf_file=str(tmp_path / "none"))) == Path("/usr/share/lorax")
    conf.write_text("no section\n")
    with pytest.raises(UsageError, match="cannot be read"):
        lorax_inputs.shared(LoraxConfig(conf_file=str(conf)))


@pytest.mark.parametrize(
    ("files", "arch", "puts"),
    [
        ({"templates.d/99-generic/x86.tmpl": "  .discinfo=${outroot}/.discinfo"}, "x86_64", True),
        ({"templates.d/99-generic/x86.tmpl": "runcmd mkisofs"}, "x86_64", False),
        # the first directory counts: 80-rhel is before 99-generic
        (
            {"templates.d/80-rhel/x86.tmpl": "runcmd", "templates.d/99-generic/x86.tmpl": ".discinfo=x"},
            "x86_64",
            False,
        ),
        # what an editor or a version control system has there does not
        ({"templates.d/.git/config": "x", "templates.d/99-generic/x86.tmpl": ".discinfo=x"}, "x86_64", True),
        ({"x86.tmpl": ".discinfo=x"}, "x86_64", True),
        ({"x86.tmpl": ".discinfo=x", "aarch64.tmpl": "runcmd"}, "aarch64", False),
        ({}, "x86_64", False),
    ],
)
def test_discinfo_is_wanted_where_the_templates_put_it(
    tmp_path: Path, files: dict[str, str], arch: str, puts: bool
) -> None:
    for name, text in files.items():
        (tmp_path / "share" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "share" / name).write_text(text)
    assert lorax_inputs.puts_discinfo(installer(tmp_path), arch) is puts


# --- which lorax --------------------------------------------------------------------------------------------


def auto(config: InstallerConfig) -> InstallerConfig:
    return config.model_copy(update={"backend": "auto"})


def test_auto_takes_live_and_says_why(tmp_path: Path) -> None:
    config = auto(installer(tmp_path))
    name, why = choose(config)
    assert name == "live"
    assert "lorax is not installed for" in why
    nowhere = config.model_copy(update={"lorax": config.lorax.model_copy(update={"sources": ()})})
    assert choose(nowhere) == ("live", "not lorax: no package source is configured")


@needs_root
@pytest.mark.parametrize("generation", ["26.9", "46.0"])
def test_auto_takes_lorax_where_it_works(tmp_path: Path, generation: str) -> None:
    assert choose(auto(installer(fake(tmp_path, generation))))[0] == "lorax"


def test_lorax_that_is_missing_names_the_distributions_package(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lorax cannot be used here") as caught:
        choose(installer(tmp_path))
    assert "dnf install lorax" in caught.value.message
    assert "PyPI is an unrelated project" in caught.value.message
    (tmp_path / "lorax").mkdir()
    (tmp_path / "lorax" / "__init__.py").write_text("")
    assert "PyPI's is an unrelated project" in lorax.unavailable(installer(tmp_path))
    assert "there is no interpreter" in lorax.unavailable(installer(tmp_path, python="/nowhere/python"))


# how each generation really fails to be imported: 46's __init__.py imports libdnf5, older ones' dnf and
# selinux
@pytest.mark.parametrize(
    ("generation", "line", "error"),
    [
        ("46.0", "import libdnf5 as dnf5", "ModuleNotFoundError: No module named 'libdnf5'"),
        ("39.5", "import selinux_of_nobody", "No module named 'selinux_of_nobody'"),
        ("26.9", "import dnf_of_nobody", "No module named 'dnf_of_nobody'"),
        ("39.5", "raise RuntimeError('a locale')", "RuntimeError: a locale"),
        ("39.5", "import sys; sys.exit(3)", "SystemExit: 3"),
        ("39.5", "print('said on the way'); 1/0", "ZeroDivisionError"),
    ],
)
def test_a_lorax_that_is_found_but_does_not_import_is_not_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generation: str, line: str, error: str
) -> None:
    place = fake(tmp_path, generation)
    package = place / "pylorax" / "__init__.py"
    package.write_text(f"{line}\n{package.read_text()}")
    name, why = choose(auto(installer(place)))
    assert (name, error in why) == ("live", True), why
    with pytest.raises(UsageError, match="does not work"):
        choose(installer(place))
    findings = doctor.release_line(
        configuration.load(ROOT / "configs" / "fedora-29.yaml", tmp_path).model_copy(
            update={"installer": auto(installer(place))}
        )
    )
    found = next(each for each in findings if each.what == "lorax")
    assert error in found.says
    assert not found.good


def test_an_old_lorax_without_its_command_is_not_working(tmp_path: Path) -> None:
    place = fake(tmp_path, "26.9")
    (place / "bin" / "lorax").unlink()
    assert "there is no program `lorax` in PATH" in lorax.unavailable(installer(place))
    (place / "bin" / "lorax").write_text("#!/bin/sh\necho words\necho its error >&2\nexit 1\n")
    (place / "bin" / "lorax").chmod(0o755)
    assert "`lorax --help` fails: its error" in lorax.unavailable(installer(place))


@pytest.mark.parametrize(
    ("version", "product", "release", "fits"),
    [
        ("26.9-1", "Fedora", "26", True),
        ("46.0-1", "Fedora", "26", False),
        ("27.12", "Fedora", "26", False),
        ("28.14.64-1.el8", "Fedora", "28", True),
        ("28.14.64-1.el8", "CentOS", "8-stream", True),
        ("34.9.33-1.el9", "CentOS Stream", "9-stream", True),
        ("40.5.19", "Red Hat Enterprise Linux", "10.1", True),
        ("46.0", "AlmaLinux", "9.4", False),
        ("19.7.28-1", "RHEL", "7.9", True),
        # editions of Fedora
        ("46.0", "Fedora IoT", "40", False),
        ("40.2", "Fedora IoT", "40", True),
        ("39.5", "Fedora-Silverblue", "40.20240101.0", False),
        ("46.0", "Fedorable", "40", True),
        # nothing is known of these
        ("46.0", "Fedora", "rawhide", True),
        ("46.0", "Debian", "12", True),
        ("devel", "Fedora", "26", True),
        ("", "Fedora", "26", True),
        ("46.0", "CentOS", "11", True),
    ],
)
def test_the_lorax_of_a_release_is_known(version: str, product: str, release: str, fits: bool) -> None:
    assert (misfit(About(version=version), product, release) == "") is fits


@needs_root
def test_another_releases_lorax_is_said_before_anything_unless_it_has_the_templates(tmp_path: Path) -> None:
    place = fake(tmp_path, "46.0")
    without = installer(place, sharedir=None)
    name, why = choose(auto(without), "Fedora", "26")
    assert name == "live"
    assert "lorax 46.0-1 is not that of Fedora 26" in why
    with pytest.raises(UsageError, match="is not that of Fedora 26") as caught:
        choose(without, "Fedora", "26")
    assert "installer.lorax.sharedir" in caught.value.hint
    assert choose(installer(place), "Fedora", "26")[0] == "lorax"
    assert choose(without, "Fedora", "46")[0] == "lorax"
    settings = configuration.load(ROOT / "configs" / "fedora-26.yaml", tmp_path).model_copy(
        update={"installer": auto(without)}
    )
    found = next(each for each in doctor.release_line(settings) if each.what == "lorax")
    assert "is not that of Fedora 26" in found.says
    assert "installer.lorax.sharedir" in found.fix
