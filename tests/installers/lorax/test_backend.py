"""The lorax backend: its child's protocol, every generation's arguments, templates that Mako renders, and
what it made, looked into.
"""

import argparse
import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mako.template import Template

from imagebuild import steplog
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.installers import check
from imagebuild.installers.lorax import backend as lorax
from imagebuild.installers.lorax import child as lorax_child
from imagebuild.installers.lorax import inputs as lorax_inputs
from imagebuild.installers.lorax import request as lorax_request
from imagebuild.installers.lorax.options import LoraxConfig
from imagebuild.installers.lorax.templates import check_templates
from imagebuild.model import Tree
from imagebuild.stages.installer import InstallerSpec, make_iso
from imagebuild.tools import command, iso
from tests import fake_lorax
from tests.installers.lorax.lab import REF, SOURCE, fake, installer, kickstarts, needs_root, request


@needs_root
@pytest.mark.parametrize("generation", fake_lorax.GENERATIONS)
def test_every_generation_is_driven(tmp_path: Path, tree: Tree, generation: str) -> None:
    place = fake(tmp_path, generation)
    known = fake_lorax.GENERATIONS[generation]
    config = installer(
        place,
        installpkgs=["fedora-productimg-atomic"],
        variables={"mine": "x y"},
        buildarch="x86_64" if known.base is not None else None,
    )
    out = tmp_path / "out"
    out.mkdir()
    spec = InstallerSpec(backend="lorax", product="Fedora", release="29", ways=("native",))
    with steplog.writing_to(tmp_path / "log"):
        made = make_iso(out, tree, None, kickstarts(tmp_path), SOURCE, config, spec)
    assert made.name == "Fedora-Atomic-ostree-29.20190101.0.x86_64.iso"
    assert (made.commit, made.backend, made.unattended) == (tree.commit, "lorax", True)
    assert iso.check_md5(made.file)
    assert "text\nrootpw --lock" in iso.read(made.file, "/ks.cfg", tmp_path).decode()
    # whoever does not know SOURCE_DATE_EPOCH has its times set; on the medium only those have it that know it
    assert made.treeinfo.read_text() == f"[general]\ntimestamp = {tree.timestamp}\nfamily = Fedora\n"
    facts = json.loads((out / "facts.json").read_text())
    assert facts["discinfo"] == (
        [] if known.medium == "isolinux" else [f"{tree.timestamp}.000000", tree.version, "x86_64"]
    )
    told = json.loads((place / "told.json").read_text())
    assert (told["product"], told["version"], told["release"], told["variant"]) == (
        "Fedora",
        "29",
        "29.20190101.0",
        "Atomic",
    )
    assert (told["volid"], told["domacboot"], told["isfinal"]) == ("Fedora-27", False, True)
    # 24 has no way to say so
    assert told["size"] == (2 if generation == "24.22" else 3)
    assert told["installpkgs"] == ["fedora-productimg-atomic"]
    assert told["add_template_vars"]["mine"] == "x y"
    assert told["conf"]["sharedir"] == str(place / "share")
    assert told["dbo"]["sources"] == ["https://example.org/os"]
    assert told["dbo"]["releasever"] == "29"
    assert ("basearch" in told["dbo"]) == (generation == "46.0")
    assert told.get("rootfs_type", "squashfs") == "squashfs"
    assert told.get("squashfs_only", True) is True
    # everything temporary lies in one directory, which is gone
    assert told["environment"]["SOURCE_DATE_EPOCH"] == str(tree.timestamp)
    temporary = told["environment"]["TMPDIR"]
    assert temporary.startswith(str(place / "tmp" / "imagebuild-"))
    assert (told["workdir"], told["environment"]["tmp"]) == (f"{temporary}/work", temporary)
    assert not Path(temporary).exists()
    assert sorted(file.name for file in out.iterdir()) == [made.name, "facts.json", "treeinfo"]
    # its log is followed into the step's, stages are lines of their own, once
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line for line in lines if "checking for root privileges" in line]
    assert [line for line in lines if line.startswith(steplog.STAGE)][-3:] == [
        "==> installing runtime packages",
        "==> creating the runtime image",
        "==> populating output tree and building boot images",
    ]


@needs_root
@pytest.mark.parametrize("generation", ["26.9", "39.5"])
def test_paths_of_the_configuration_are_from_where_it_was_read(
    tmp_path: Path, tree: Tree, generation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lorax runs in a directory of its own."""
    fake(tmp_path, generation)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {
        "sharedir": "lorax/share",
        "python_path": ["lorax"],
        "path": ["lorax/bin"],
        "tmp": "lorax/tmp",
        "conf_file": "my.conf",
        "repos": ["my.repo"],
    }
    config = installer(tmp_path, **options, python=os.path.relpath(sys.executable, tmp_path))
    with steplog.writing_to(tmp_path / "log"):
        lorax.build(tmp_path / "out", request(tmp_path, tree, config))
    told = json.loads((tmp_path / "lorax" / "told.json").read_text())
    assert (told["conf"]["sharedir"], told["conf"]["conf_file"]) == (
        f"{tmp_path}/lorax/share",
        f"{tmp_path}/my.conf",
    )
    assert told["dbo"]["repos"] == [f"{tmp_path}/my.repo"]


@needs_root
@pytest.mark.parametrize("generation", ["26.9", "39.5"])
def test_lorax_is_given_plain_paths_wherever_the_store_is(
    tmp_path: Path, tree: Tree, generation: str
) -> None:
    """28.14 and 40.5.19 refused a `%` in their log's path ("invalid interpolation syntax"), and their
    templates quote no blanks.
    """
    place, odd = fake(tmp_path, generation), tmp_path / "feature%2Fx@2 (1) \u00fc {a,b}"
    (out := odd / "out").mkdir(parents=True)
    (odd / "share").symlink_to(place / "share")
    with steplog.writing_to(tmp_path / "log"):
        made = lorax.build(out, request(tmp_path, tree, installer(place, sharedir=str(odd / "share"))))
    assert made.is_file()
    assert (out / "work" / "logs" / "pylorax.log").is_file()
    told = json.loads((place / "told.json").read_text())
    for path in (told["outputdir"], told["conf"]["logdir"], told["conf"]["sharedir"], told["workdir"]):
        assert path.startswith(f"{place}/tmp/imagebuild-"), path
    (place / "tmp of it").mkdir()
    with pytest.raises(BuildError, match=r"installer\.lorax\.tmp: .* cannot work below"):
        lorax.build(out, request(tmp_path, tree, installer(place, tmp=str(place / "tmp of it"))))


# --- arguments ----------------------------------------------------------------------------------------------


def parameters(tail: str) -> Any:
    found: dict[str, Any] = {}
    exec(f"def run(dbo, product, size=2{tail}): pass", found)
    return inspect.signature(found["run"]).parameters


@pytest.mark.parametrize(
    ("generation", "rootfs_type", "expected"),
    [
        ("29.20", None, {}),
        ("29.20", "squashfs-ext4", {}),
        ("30.13", None, {"squashfs_only": True}),
        ("39.5", "squashfs-ext4", {"squashfs_only": False}),
        ("28.14.64", "squashfs", {"squashfs_only": True}),
        ("46.0", None, {"rootfs_type": "squashfs"}),
        ("46.0", "erofs", {"rootfs_type": "erofs"}),
    ],
)
def test_the_root_file_system_is_asked_for_in_the_words_of_the_generation(
    generation: str, rootfs_type: str | None, expected: dict[str, Any]
) -> None:
    found = lorax_child.adapt(
        parameters(fake_lorax.GENERATIONS[generation].tail),
        {"product": "P", "size": 3, "skip_branding": False},
        rootfs_type,
    )
    assert {
        name: value for name, value in found.items() if name not in ("product", "size", "skip_branding")
    } == expected


@pytest.mark.parametrize(
    ("generation", "wanted", "rootfs_type", "lost"),
    [
        ("29.0", {"user_dracut_args": ["--conf x"]}, None, "does not know user_dracut_args"),
        ("30.13", {"skip_branding": True}, None, "does not know skip_branding"),
        ("39.5", {}, "erofs", "of type erofs"),
        ("29.20", {}, "squashfs", "squashfs-ext4 only"),
    ],
)
def test_what_a_generation_cannot_do_is_said_not_left_out(
    generation: str, wanted: dict[str, Any], rootfs_type: str | None, lost: str
) -> None:
    with pytest.raises(lorax_child.CannotError, match=lost):
        lorax_child.adapt(parameters(fake_lorax.GENERATIONS[generation].tail), wanted, rootfs_type)


def test_the_command_line_of_the_oldest_generations(tmp_path: Path, tree: Tree) -> None:
    config = installer(tmp_path, installpkgs=["a", "b"], verify=False, variables={"x": "1"})
    asked = request(tmp_path, tree, config)
    told = lorax_request.child_request(
        asked,
        tmp_path,
        tmp_path / "made",
        lorax_request.Templates(
            runtime=[Path("/t.tmpl")], arch=[], variables=lorax.template_variables(asked)
        ),
    )
    help_text = " ".join(name for name, _ in told["command"]) + " --unknown"
    argv = lorax_child.command_line(told["command"], help_text)
    text = " ".join(argv)
    for words in (
        "--product Fedora --version 29 --release 29.20190101.0",
        "--installpkgs a --installpkgs b",
        "--nomacboot",
        "--noverify",
        "--isfinal",
        "--add-template /t.tmpl",
        "--add-template-var x=1",
        "--rootfs-size 3",
        "--volid Fedora-27",
        "--source https://example.org/os",
    ):
        assert words in text, words
    assert "--proxy" not in argv
    with pytest.raises(lorax_child.CannotError, match="has no option --product"):
        lorax_child.command_line(told["command"], "--source")


def test_values_that_look_like_options_are_values() -> None:
    """As lorax reads them (28.14, src/pylorax/cmdline.py: argparse, `append`)."""
    options = [
        ("--dracut-arg", ["--xz", "--install /.buildstamp", "-v"]),
        ("--bugurl", ["https://example.org"]),
    ]
    parser = argparse.ArgumentParser()
    parser.add_argument("--dracut-arg", action="append")
    parser.add_argument("--bugurl")
    found = parser.parse_args(lorax_child.command_line(options, parser.format_help()))
    assert (found.dracut_arg, found.bugurl) == (
        ["--xz", "--install /.buildstamp", "-v"],
        "https://example.org",
    )


def test_the_child_runs_under_old_interpreters() -> None:
    text = Path(lorax_child.__file__).read_text()
    compile(text, "lorax_child.py", "exec")
    import ast

    # what Python 3.6 does not know
    tree_of = ast.parse(text, feature_version=(3, 6))
    assert not [node for node in ast.walk(tree_of) if isinstance(node, ast.NamedExpr | ast.Match)]
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree_of)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    imported |= {
        str(node.module).partition(".")[0] for node in ast.walk(tree_of) if isinstance(node, ast.ImportFrom)
    }
    assert imported <= set(sys.stdlib_module_names)


def test_the_root_file_system_is_large_enough_for_the_tree() -> None:
    assert lorax_request.rootfs_size(0) == 3
    assert lorax_request.rootfs_size(800 << 20) == 3
    assert lorax_request.rootfs_size(1 << 30) == 4
    assert lorax_request.rootfs_size(5 << 30) == 8


# --- templates ----------------------------------------------------------------------------------------------


def test_our_templates_use_only_what_they_are_given(tmp_path: Path, tree: Tree) -> None:
    asked = request(tmp_path, tree, installer(tmp_path))
    templates, _ = lorax_inputs.paths(asked.config.options(LoraxConfig))
    check_templates(
        templates, lorax.GIVEN | set(lorax.template_variables(asked)), "installer.lorax.templates"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runcmd echo ${mispelt}", "uses mispelt, which nothing defines"),
        ("% if switch:\nruncmd true\n% endif\n", "uses switch"),
        ("<% x = other %>\nruncmd echo ${x}\n", "uses other,"),
        ("% for broken\n", "is not a template"),
        ("runcmd echo gr\xf6\xdfe\n", "is not a template: 'utf-8' codec"),
        ('<%page args="root, mine"/>\n${mine}\n', "uses mine"),
        ('<%def name="line(a)">${a}${b}</%def>\n${line(1)}\n', "uses b,"),
    ],
)
def test_a_variable_that_nobody_gives_is_found_before_the_packages(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "x.tmpl"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(BuildError, match=message):
        check_templates([file], {"root"}, "key")


def test_a_template_that_is_not_there_is_found_before_the_packages(tmp_path: Path) -> None:
    for name in (tmp_path / "none.tmpl", Path("relative.tmpl")):
        with pytest.raises(BuildError, match=rf"there is no lorax template .*{name.name}"):
            check_templates([name], set(), "key")


@pytest.mark.parametrize(
    "text",
    [
        (
            '<%page args="root"/>\n<%! import os %>\n<% a = root %>\n% for b in range(3):\nruncmd echo ${a}'
            " ${b} ${loop.index} ${os.sep}\n% endfor\n"
        ),
        "<%page args=\"root, mine='x', *more, other=2, **rest\"/>\n${root}${mine}${more}${other}${rest}\n",
        '<%def name="line(a, b=1)">runcmd echo ${a} ${b} ${root}</%def>\n${line(1)}\n',
        '${line()}\n<%def name="line()">${inner()}<%def name="inner()">x</%def></%def>\n',
    ],
)
def test_names_and_loops_of_a_template_are_its_own(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.tmpl"
    file.write_text(text)
    check_templates([file], {"root"}, "key")
    # so says Mako
    Template(text).render(root="/")


REAL = """
import inspect, json, sys
sys.path.insert(0, sys.argv[1])
wanted = json.loads(sys.argv[2])
import lorax_child, pylorax, pylorax.dnfbase
from pylorax import ArchData
from pylorax.base import DataHolder
from pylorax.ltmpl import LoraxTemplateRunner
run = inspect.signature(pylorax.Lorax.run)
run.bind(None, None, **lorax_child.adapt(run.parameters, wanted["run"], None))
base = inspect.signature(pylorax.dnfbase.get_dnf_base_object)
base.bind(**lorax_child.dnf_keywords(base.parameters, wanted["dnf"]))
root, arch = wanted["root"], ArchData("x86_64")
arguments = {"inroot": root, "outroot": root, "templatedir": "/", "basearch": arch.basearch}
known = inspect.signature(LoraxTemplateRunner.__init__).parameters
runner = LoraxTemplateRunner(**{name: value for name, value in arguments.items() if name in known})
product = DataHolder(name="fedora")
runner.defaults = DataHolder(
    arch=arch, product=product, dbo=None, root=root, basearch=arch.basearch, libdir="lib64"
)
for template in wanted["run"]["add_templates"]:
    runner.run(template, **wanted["run"]["add_template_vars"])
"""


@pytest.mark.lorax
def test_the_real_library_takes_what_we_give_it(tmp_path: Path, tree: Tree) -> None:
    """Wherever lorax is installed: its own signatures, and our templates through its own runner; the
    repository that they make is looked into.
    """
    status, said = command.status(
        ["/usr/bin/python3", "-c", "import pylorax, pylorax.dnfbase, pylorax.ltmpl"]
    )
    if status != 0:
        pytest.skip(
            "NOT RUN: the lorax library does not import on this machine (dnf install lorax):"
            f" {said.strip().splitlines()[-1]}"
        )
    asked = request(tmp_path, tree, installer(tmp_path))
    templates, _ = lorax_inputs.paths(asked.config.options(LoraxConfig))
    key = tmp_path / "00.gpg"
    key.write_bytes(b"key")
    told = lorax_request.child_request(
        asked,
        tmp_path,
        tmp_path / "made",
        lorax_request.Templates(runtime=templates, arch=[], variables=lorax.template_variables(asked, [key])),
    )
    (tmp_path / "root").mkdir()
    told["root"] = str(tmp_path / "root")
    command.run(
        ["/usr/bin/python3", "-c", REAL, Path(lorax_child.__file__).parent, json.dumps(told)],
        env={"PYTHONUTF8": "1"},
    )
    stage2 = tmp_path / "install.img"
    command.run(["mksquashfs", tmp_path / "root", stage2, "-quiet", "-no-progress"])
    facts = check.embedded(stage2, 0, tmp_path)
    assert (facts["commits"], facts["refs"], facts["mode"], facts["remotes"]) == (
        [tree.commit],
        {f"heads/{REF}": tree.commit},
        "bare",
        [],
    )
    # extended, without the `text` that a person decides
    assert (tmp_path / "root/usr/share/anaconda/interactive-defaults.ks").read_text() == "\n# größe\n"
    assert (tmp_path / "root/usr/share/ostree/trusted.gpg.d/00.gpg").read_bytes() == b"key"


def test_missing_tools_are_named(tmp_path: Path, tree: Tree) -> None:
    with pytest.raises(MissingToolError, match="lorax cannot be used"):
        lorax.build(tmp_path, request(tmp_path, tree, installer(tmp_path)))
