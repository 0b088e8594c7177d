"""Everything that decides about an ISO that lorax makes is in its key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagebuild.config.installer import LoraxConfig
from imagebuild.errors import BuildError, UsageError
from imagebuild.installers.lorax import inputs as lorax_inputs
from imagebuild.release_line import reading as configuration
from tests.data import ROOT
from tests.installers.lorax.lab import fake, installer, needs_root, repository
from tests.wiring import changed, wired


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
