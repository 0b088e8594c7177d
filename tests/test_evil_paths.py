"""Stores, work spaces and repositories whose paths have characters that addresses, shells and option parsers
take for their own.

Jenkins' multibranch jobs have `%2F` in their work spaces, others have blanks. Whatever runs without a guest
is run for real.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
import yaml

from imagebuild import files
from imagebuild.architectures.architecture import Flash
from imagebuild.cli import showing as report
from imagebuild.deploy import bootloader, compare
from imagebuild.deploy.disk_map import Area
from imagebuild.destinations.local import Directory
from imagebuild.destinations.registry import open_destination
from imagebuild.destinations.source import DirectorySource, open_source
from imagebuild.errors import BuildError, UsageError
from imagebuild.installers import check
from imagebuild.installers.lorax.options import LoraxConfig
from imagebuild.installers.unattended import menu_facts, remaster
from imagebuild.kinds import Controller, Firmware
from imagebuild.publish.findings import describe
from imagebuild.publish.verify import Trust, verify
from imagebuild.release_line import reading as config
from imagebuild.smoke import attempts
from imagebuild.stages import kickstart
from imagebuild.tools import command, iso, iso_writer, rpm, ssh, temporary
from imagebuild.tools.ostree import server as ostree_server
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.command_line import command_line
from imagebuild.tools.qemu.machine import Machine
from tests.data import ROOT
from tests.evil_names import NAMES
from tests.installers.unattended.media import make_iso
from tests.publish.releasing import go
from tests.release_lab import FIRST, REF, SECOND, Line
from tests.smoke import trials
from tests.tools.machines import PLACES, TCG


@pytest.fixture(params=NAMES)
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    made = tmp_path / str(request.param)
    made.mkdir()
    return made


def test_a_path_becomes_an_address_and_a_path_again(place: Path) -> None:
    address = files.url(place)
    assert files.path_of(address) == place
    assert address.isascii()
    assert not set(address) & set(" #?\"'`$\\&;<>|{}*[]")


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///srv/repo", "/srv/repo"),
        ("file:///srv/a%20b", "/srv/a b"),
        ("file:///srv/a%2Fb", "/srv/a/b"),
        ("file:///srv/a%252Fb", "/srv/a%2Fb"),
        # nothing else can be meant than the path's
        ("file:///srv/a#b", "/srv/a#b"),
        ("file:///srv/a?b=c", "/srv/a?b=c"),
        ("file:///srv/50%", "/srv/50%"),
        ("file:///srv/a;b", "/srv/a;b"),
        ("file:///srv/%C3%A4", "/srv/\u00e4"),
        ("file:///srv/\u00e4", "/srv/\u00e4"),
    ],
)
def test_an_address_that_a_person_wrote(address: str, path: str) -> None:
    assert files.path_of(address) == Path(path)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("file:///srv/Nightly Build/repo", "/srv/Nightly Build/repo"),
        ("file:///srv/a#b", "/srv/a#b"),
        ("file:///srv/it's", "/srv/it's"),
        ("file:///srv/a%20b", "/srv/a b"),
        ("file:///srv/50%", "/srv/50%"),
        ("file:///srv/a`b$c", "/srv/a`b$c"),
        ("file:///srv/a:b=c,d@e+f", "/srv/a:b=c,d@e+f"),
    ],
)
def test_an_address_in_a_configuration(tmp_path: Path, written: str, path: str) -> None:
    data = yaml.safe_load((ROOT / "configs" / "debian-12.yaml").read_text())
    data["tree"]["url"] = data["publish"]["repo"] = data["publish"]["destination"] = written
    (tmp_path / "c.yaml").write_text(json.dumps(data))
    loaded = config.load(tmp_path / "c.yaml", tmp_path)
    assert loaded.publish.destination is not None
    assert {loaded.tree.url, loaded.publish.repo, loaded.publish.destination} == {files.url(Path(path))}
    found = open_destination(loaded.publish.destination)
    assert isinstance(found, Directory)
    assert found.place == Path(path)


@pytest.mark.parametrize(
    "written",
    [
        "file://srv/repo",
        "file:///a\nb",
        "https://example.org/a b",
        "https://example.org/'$x",
        "ftp://example.org",
        "https://[half/x",
        "http://",
        "http://:80/",
        "http://h:x/",
    ],
)
def test_other_addresses_are_refused_as_before(tmp_path: Path, written: str) -> None:
    data = yaml.safe_load((ROOT / "configs" / "debian-12.yaml").read_text())
    data["tree"]["url"] = written
    (tmp_path / "c.yaml").write_text(json.dumps(data))
    with pytest.raises(UsageError, match=r"tree\.url"):
        config.load(tmp_path / "c.yaml", tmp_path)


def test_bytes_that_are_no_text_are_kept() -> None:
    path = Path(os.fsdecode(b"/srv/\xff\xfe"))
    assert files.url(path) == "file:///srv/%FF%FE"
    assert files.path_of(files.url(path)) == path


def test_the_store_is_quoted_in_addresses_only(place: Path) -> None:
    loaded = config.load(ROOT / "configs" / "debian-12.yaml", place)
    assert files.path_of(loaded.tree.url) == place / "compose/repo"
    assert loaded.tree.gpg_keys == (f"{place}/compose/signing-key.asc",)
    assert loaded.publish.repo is not None
    assert files.path_of(loaded.publish.repo) == place / "stable-repo"
    assert loaded.publish.destination is not None
    found = open_destination(loaded.publish.destination)
    assert isinstance(found, Directory)
    assert found.place == place / "mirror"
    # no word of a kickstart ends there
    text = "ostreesetup --url=" + kickstart.values(REF, loaded.tree)["url"]
    assert len(text.split()) == 2
    assert "#" not in text


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\x7fb"])
def test_a_store_with_control_characters_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="control characters") as caught:
        config.load(ROOT / "configs" / "debian-12.yaml", tmp_path / name)
    assert "--store" in caught.value.hint


@pytest.mark.parametrize("raw", [False, True], ids=["quoted", "as a person writes it"])
def test_ostree_pulls_from_there_and_into_it(place: Path, origin: tuple[Path, str], raw: bool) -> None:
    command.run(["cp", "-r", origin[0], place / "repo"])
    # nobody can leave a % as it is: %2F is a /
    url = f"file://{place}/repo".replace("%", "%25") if raw else files.url(place / "repo")
    assert ostree_server.resolve(url, REF) == origin[1]
    assert ostree_server.commit_object(url, origin[1]) is not None
    with pytest.raises(UsageError) as caught:
        ostree_server.resolve(url, "debian/12/x86_64/atomic-hosts")
    assert REF in caught.value.hint
    repo = Repo.ensure(place / "store" / "repo")
    repo.pull(Remote(url=url, keys=(), verify=False), origin[1])
    assert repo.has(origin[1])
    other = Repo.ensure(place / "other")
    other.pull_local(repo, origin[1])
    assert other.has(origin[1])


def test_a_whole_release_in_such_a_place(tmp_path: Path) -> None:
    place = tmp_path / 'feature%2Fx #1? it\'s {a,b} & "c" $d;\u00e4 [e]'
    (home := place / "keys").mkdir(parents=True, mode=0o700)
    line = Line(place / "line", home)
    stable, mirror = place / "stable", place / "mirror"
    line.changes |= {
        "publish": {"repo": files.url(stable), "destination": files.url(mirror)},
        "tree": {
            "url": files.url(line.place / "repo"),
            "gpg_keys": [str(line.key)],
            "osname": "o",
            "remote": "r",
            "update_url": "https://example.org",
            "update_gpg_key": "/k",
        },
    }
    line.release(line.material(line.commit("12.1", FIRST)), day="20261112")
    release = line.release(line.material(line.commit("12.2", SECOND)))
    trust = Trust(keys=(line.key,), commit_keys=(line.key,), open_images=False, cache=tmp_path)
    assert go(line, release)[-1] == f"the latest is {release.name}"
    assert Repo(stable).refs() == {REF: line.trees[1].commit}
    for source in (
        DirectorySource(release),
        open_source(files.url(mirror / release.name)),
        open_source(str(mirror / release.name)),
    ):
        found = verify(source, trust)
        assert not found.problems, describe(found)
    assert json.loads((mirror / "latest.json").read_text())["compose_id"] == release.name


def test_a_path_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    report.show_error(
        report.complaints, BuildError("/srv/[red]a[/b]/x is not there", hint="/srv/[red]a[/b]/x")
    )
    report.console.print("/srv/[red]a[/b]/x", highlight=False)
    said = capsys.readouterr()
    assert said.out.strip() == "/srv/[red]a[/b]/x"
    assert said.err.count("/srv/[red]a[/b]/x") == 2


@pytest.mark.parametrize("key", ["python_path", "path"])
def test_a_directory_that_is_searched_has_no_colon(key: str) -> None:
    with pytest.raises(ValueError, match="would split it in two"):
        LoraxConfig.model_validate({key: ["/a:/b"]})


def test_the_criteria_are_run_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the options of stages/smoke.py, on a test that says what pytest takes for its root directory."""
    trial = trials.trial(place, accelerator=TCG)
    (place / "test_here.py").write_text(
        "def test_here(pytestconfig):\n    print('root', ascii(str(pytestconfig.rootpath)))\n"
    )
    said, run = list[str](), command.run

    def here(argv: list[str], *, cwd: Path, **_: object) -> str:
        options = [str(word) for word in argv[: argv.index("--pyargs")]]
        plugin = options.index("imagebuild.smoke.criteria.plugin")
        said.append(run([*options[: plugin - 1], *options[plugin + 1 :], "-s", "test_here.py"], cwd=cwd))
        return ""

    monkeypatch.setattr(command, "run", here)
    with pytest.raises(BuildError, match="the criteria did not run"):
        attempts.run_once(place, trial)
    assert f"root {str(place)!a}" in said[0]


# --- other programs -----------------------------------------------------------------------------------------


def test_images_are_made_and_read_there(place: Path) -> None:
    disk, overlay = place / "disk.raw", place / "overlay.qcow2"
    disk.write_bytes(b"x" * 4096 + bytes(1 << 20))
    disk_image.make_overlay(overlay, disk, "raw", size=4 << 20)
    disk_image.convert(overlay, "qcow2", place / "again.raw", "raw")
    assert (place / "again.raw").read_bytes()[:4096] == b"x" * 4096
    assert disk_image.compare(place / "again.raw", "raw", overlay, "qcow2")[0]


def test_no_option_of_qemu_ends_there(place: Path) -> None:
    places = replace(PLACES, monitor=place / "qmp", keyboard=place / "keyboard", variables=place / "vars")
    machine = Machine(
        disk=place / "disk",
        seed=place / "seed",
        controller=Controller.VIRTIO,
        firmware=Firmware.UEFI,
        cores=1,
        memory=1 << 30,
        typed=True,
    )
    argv = command_line(machine, TCG, places, Flash(place / "code", Path("/vars.fd")))
    doubled = str(place).replace(",", ",,")
    for name in ("qmp", "keyboard", "vars", "disk", "seed", "code"):
        assert any(f"{doubled}/{name}" in word for word in argv), name


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what an ISO like lorax's was made of, and the ISO (in.iso)."""
    made = tmp_path_factory.mktemp("medium")
    make_iso(made)
    return made


@pytest.mark.parametrize(
    "place", ["Nightly Build", "{a,b}$HOME`c`", "a=b:c,d@@e", "(a)<b>|*[c]!"], indirect=True
)
def test_isos_are_written_and_changed_there(place: Path, medium: Path) -> None:
    command.run(["cp", "-r", f"{medium}/.", place])
    found = {
        path.relative_to(place / "files").as_posix(): path
        for path in (place / "files").rglob("*")
        if path.is_file()
    }
    written = place / "written.iso"
    iso_writer.write(
        written,
        found,
        volume="V",
        bios=("images/eltorito.img", place / "mbr.img"),
        esp=place / "esp.img",
        epoch=1,
        serial="00000000-0000-4000-8000-000000000000",
    )
    (place / "file").write_text("text\n")
    remaster.add_kickstart(
        written, place / "file", place / "changed.iso", syntax="F27", default=False, keep=True
    )
    assert iso.read(place / "changed.iso", "/ks.cfg", place) == b"text\n"
    (place / "extracted").mkdir()
    assert (
        iso.extract(place / "changed.iso", ["/ks.cfg"], place / "extracted")["/ks.cfg"].read_text()
        == "text\n"
    )
    assert iso.check_md5(place / "changed.iso")
    assert set(map(tuple, menu_facts.read(place / "changed.iso", place).kickstarts.values())) == {
        ("hd:LABEL=V:/ks.cfg",)
    }


def test_fat_file_systems_are_written_there(place: Path) -> None:
    image = place / "esp.img"
    image.write_bytes(bytes(4 << 20))
    command.run(["mkfs.vfat", "-F", "12", image])
    bootloader.fill_with_mtools(image, {PurePosixPath("EFI/BOOT/BOOTX64.EFI"): b"MZ"})
    assert b"BOOTX64 EFI" in image.read_bytes()
    assert list(compare._clusters(image, "disk@@0", bootloader.MTOOLS)) == ["::/EFI/BOOT/BOOTX64.EFI"]


def test_ext4_file_systems_are_read_there(place: Path) -> None:
    (place / "tree" / "ostree" / "repo" / "refs" / "heads").mkdir(parents=True)
    repo = place / "tree" / "ostree" / "repo"
    (repo / "config").write_text('[core]\nmode=bare\n[remote "x"]\nurl=file:///a%2Fb\n')
    (repo / "refs" / "heads" / "main").write_text("a" * 64 + "\n")
    (repo / "objects" / "ab").mkdir(parents=True)
    (repo / "objects" / "ab" / ("c" * 62 + ".commit")).write_text("x")
    for name in ("one.img", "other.img"):
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", "tree", name, "16M"], cwd=place, check=True)
    found = check._nested(place / "one.img", place)
    assert (found["commits"], found["refs"], found["mode"]) == (
        ["ab" + "c" * 62],
        {"heads/main": "a" * 64},
        "bare",
    )
    area = Area(name="part", start=0, size=16 << 20, content="ext4")
    assert compare._debugfs(place / "one.img", area, "ncheck 12") == ["12\t//ostree"]


def test_ssh_takes_its_paths_literally(place: Path) -> None:
    (place / "key").touch()
    options = [
        word
        for name, file in (("ControlPath", "socket"), ("IdentityFile", "key"))
        for word in ("-o", f"{name}={ssh._word(place / file)}")
    ]
    said = command.run(["ssh", "-G", "-F", "none", *options, "host"])
    assert f"controlpath {place / 'socket'}\n" in said
    assert f"identityfile {str(place / 'key').replace('%', '%%')}\n" in said


MOUNTED = """
import sys
from pathlib import Path
from imagebuild.tools import temporary
place = Path(sys.argv[1])
assert temporary.mounts_below(place) == [place.resolve()], temporary.mounts_below(place)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_mount_is_found_there(place: Path) -> None:
    assert temporary.mounts_below(place) == []
    script = 'mount -t tmpfs none "$1" && exec "$2" -c "$3" "$1"'
    command.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", place, sys.executable, MOUNTED],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("place", ["feature%2Fx", "%zz;a&b'c\"d"], indirect=True)
def test_packages_are_built_there(place: Path) -> None:
    rpm.make_repository(place / "rpms", "name")
    assert list((place / "rpms").rglob("name-*.rpm"))
