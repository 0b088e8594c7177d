"""A finished installer ISO is opened and read: labels, boot equipment, media checksum, the menu, and which
commit is embedded.
"""

import configparser
import re
from collections.abc import Mapping
from pathlib import Path

from imagebuild.installers.unattended import menu_facts
from imagebuild.tools import command, iso

STAGE2 = "/images/install.img"
NEEDED = ("/.discinfo", "/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img", STAGE2)
# where the repository lies in a squashfs: ours, and lorax's
REPOS = ("imagebuild/repo", "ostree/repo")
COMMIT = re.compile(r"objects/([0-9a-f]{2})/([0-9a-f]{62})\.commit$")
NOTHING: dict[str, object] = {"repo": "", "commits": [], "refs": {}, "mode": "", "remotes": []}
# lorax's two-level root file system has its image in this
NESTED = "LiveOS/rootfs.img"


def look_into(image: Path, work: Path) -> dict[str, object]:
    """Return what is found in an ISO; `work` is a directory for what must be extracted. Raises BuildError for
    a file that is none.
    """
    files = iso.listing(image)
    menus = menu_facts.read(image, work)
    facts: dict[str, object] = {
        "volume_id": iso.volume_id(image),
        "md5": iso.implanted_md5(image),
        "md5_holds": iso.check_md5(image),
        "boot": [entry.platform for entry in iso.boot_entries(image)],
        "missing": [path for path in NEEDED if path not in files],
        "discinfo": (
            iso.read(image, "/.discinfo", work).decode("utf-8", "replace").splitlines()
            if "/.discinfo" in files
            else []
        ),
        "labels": menus.labels,
        "kickstarts": menus.kickstarts,
        "menu_problem": menus.problem,
        "files": [path for path in files if path.count("/") == 1],
    }
    if STAGE2 in files:
        facts |= embedded(image, iso.offset_of(image, STAGE2), work)
    return facts


def embedded(stage2: Path, offset: int, work: Path) -> dict[str, object]:
    """Return the commits and refs of the repository inside an installer's root file system, a squashfs that
    begins at an offset of a file.
    """
    where: list[str | Path] = ["-o", str(offset)]
    listing = command.run(["unsquashfs", *where, "-l", stage2], quiet=True).splitlines()
    paths = [line.partition("squashfs-root/")[2] for line in listing if line.startswith("squashfs-root/")]
    directory = work / "embedded"
    unpack: list[str | Path] = ["unsquashfs", "-q", "-n", "-no-xattrs", "-f", *where, "-d", directory, stage2]
    if NESTED in paths:
        command.run([*unpack, NESTED], quiet=True)
        described = _nested(directory / NESTED, work)
        (directory / NESTED).unlink()
        return described
    inside = next((path for path in REPOS if f"{path}/config" in paths), None)
    if inside is None:
        return dict(NOTHING)
    prefix = f"{inside}/"
    commits = [
        match.group(1) + match.group(2)
        for path in paths
        if path.startswith(prefix) and (match := COMMIT.search(path))
    ]
    command.run([*unpack, f"{inside}/refs", f"{inside}/config"], quiet=True)
    return _described(inside, directory / inside, commits)


def _nested(image: Path, work: Path) -> dict[str, object]:
    """Return the same of an ext4 image, as lorax made the root file system until 2018: read by debugfs(8),
    not mounted.
    """
    inside, target = REPOS[-1], work / "nested-repo"
    target.mkdir()
    objects = [f"/{inside}/objects/{number:02x}" for number in range(256)]
    script = work / "debugfs"
    # from where it runs its own words need no quotes, and no path has a `?`, after which libext2fs reads
    # options (openfs.c of 1.47)
    script.write_text(
        "".join(f"ls -p {path}\n" for path in objects)
        + f"rdump /{inside}/refs {target.name}\ndump /{inside}/config {target.name}/config\n"
    )
    (work / "nested.img").symlink_to(image.absolute())
    commits, prefix = list[str](), ""
    for line in command.run(["debugfs", "-f", script.name, "nested.img"], cwd=work, quiet=True).splitlines():
        # it repeats each command, then a line for each entry: /inode/mode/user/group/name/size/
        if line.startswith("debugfs: ls -p "):
            prefix = line.rpartition("/")[2].strip()
        elif line.startswith("/") and line.count("/") >= 6 and line.split("/")[5].endswith(".commit"):
            commits.append(prefix + line.split("/")[5].removesuffix(".commit"))
    return _described(inside, target, commits) if (target / "config").is_file() else dict(NOTHING)


def _described(inside: str, repo: Path, commits: list[str]) -> dict[str, object]:
    """Return what a repository's extracted refs and configuration say; `inside` is where it lies in the root
    file system.
    """
    config = configparser.ConfigParser(interpolation=None)
    config.read_string((repo / "config").read_text())
    return {
        "repo": inside,
        "commits": commits,
        "mode": config.get("core", "mode", fallback=""),
        "refs": {
            str(file.relative_to(repo / "refs")): file.read_text().strip()
            for file in sorted((repo / "refs").rglob("*"))
            if file.is_file()
        },
        "remotes": [section for section in config.sections() if section.startswith("remote")],
    }


def problems(
    facts: Mapping[str, object],
    *,
    volume_id: str,
    commit: str,
    ref: str,
    unattended: bool,
    discinfo: bool = True,
    bios: bool = True,
) -> list[str]:
    """Return what is wrong with an installer ISO, a sentence's rest each; `discinfo`: it must have
    /.discinfo, which lorax has put there since 30.13; `bios`: it must boot under BIOS, too.
    """
    flaws = [f"it has no {path}" for path in _list(facts, "missing") if discinfo or path != "/.discinfo"]
    if facts["volume_id"] != volume_id:
        flaws.append(f"its volume id is {facts['volume_id']!r}, not {volume_id!r}")
    flaws += [
        f"it does not boot under {platform}"
        for platform in (("BIOS", "UEFI") if bios else ("UEFI",))
        if platform not in _list(facts, "boot")
    ]
    if not facts["md5"]:
        flaws.append("it has no media checksum")
    elif not facts["md5_holds"]:
        flaws.append("its media checksum does not hold")
    flaws += _menu_problems(facts, volume_id)
    kickstarts = facts["kickstarts"]
    assert isinstance(kickstarts, dict)
    if unattended:
        flaws += [f"{path} has no entry with a kickstart" for path, names in kickstarts.items() if not names]
    return flaws + _repo_problems(facts, commit, ref)


def _menu_problems(facts: Mapping[str, object], volume_id: str) -> list[str]:
    labels = facts["labels"]
    assert isinstance(labels, dict)
    wrong = {label for names in labels.values() for label in names} - {volume_id}
    if facts.get("menu_problem") is not None:
        return [f"its boot menu cannot be read: {facts['menu_problem']}"]
    if wrong:
        return [f"its boot menu looks for {', '.join(sorted(wrong))}, not {volume_id}"]
    return [] if labels else ["it has no boot menu"]


def _repo_problems(facts: Mapping[str, object], commit: str, ref: str) -> list[str]:
    if not facts.get("repo"):
        return ["it has no embedded repository"]
    flaws = []
    if _list(facts, "commits") != [commit]:
        flaws.append(
            f"its repository holds {', '.join(_list(facts, 'commits')) or 'no commit'}, not just {commit}"
        )
    refs = facts["refs"]
    assert isinstance(refs, dict)
    if refs.get(f"heads/{ref}") != commit:
        flaws.append(f"its repository has {ref} at {refs.get(f'heads/{ref}', 'nothing')}")
    if facts["mode"] != "bare":
        flaws.append(f"its repository is of mode {facts['mode']!r}, not bare")
    if _list(facts, "remotes"):
        flaws.append("its repository keeps a remote of the build host")
    return flaws


def _list(facts: Mapping[str, object], name: str) -> list[str]:
    value = facts.get(name, [])
    assert isinstance(value, list)
    return value
