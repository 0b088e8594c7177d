"""A stand-in for `rpm-ostree compose tree` of several versions: it takes the options that each knows, refuses
what each refuses, and commits.

Checked against coreos/rpm-ostree, tags v2016.13, v2017.11, v2018.7, v2022.19 and v2026.2:
src/app/rpmostree-compose-builtin-tree.c(xx) (rpm_ostree_compose_context_new, impl_install_tree,
impl_commit_tree, rpmostree_compose_builtin_tree) and src/app/main.c. Options and what is printed come from
the samples in tests/data/rpm-ostree. What it puts into a tree is made up: a file for each package, add-files,
os-release. It needs no root, as the real one does.

Run as a program it is `rpm-ostree`; `install` writes that program. Files in its state directory change what
it does: `dies` (the name of a signal that ends it after the commit), `kills` (it kills its parent there),
`no-selinux`, `no-bwrap`.
"""

import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tests import data as tests_data

DATA = tests_data.DATA / "rpm-ostree"
VERSIONS = ("2016.13", "2017.11", "2018.7", "2022.19", "2026.2")
# up to 2018.9 the unified core took nothing but a bare-user repository
STRICT = ("2017.11", "2018.7")
OPTION = re.compile(r"^  (?:-(\w), )?--([a-z0-9-]+)(=[A-Z]+)?", re.MULTILINE)


def install(place: Path, version: str) -> Path:
    """Write the program into `place/bin`, to be put into PATH, and return its state directory."""
    program, state = place / "bin/rpm-ostree", place / "rpm-ostree-state"
    for directory in (program.parent, state):
        directory.mkdir(parents=True, exist_ok=True)
    program.write_text(
        f'#!/bin/sh\nFAKE_RPM_OSTREE="{version} {state}" exec {sys.executable} {Path(__file__).absolute()}'
        ' "$@"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return state


def sample(version: str, kind: str) -> tuple[str, str]:
    """Return a sample's comments and the sample itself."""
    lines = (DATA / f"{version}-{kind}.txt").read_text().splitlines(keepends=True)
    comments = [line for line in lines if line.startswith("# ")]
    return "".join(comments), "".join(lines[len(comments) :])


def fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


@dataclass
class Told:
    """What is on the command line: values of options, flags with none."""

    values: dict[str, list[str]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    def last(self, name: str) -> str | None:
        return self.values[name][-1] if self.values.get(name) else None


def parse(argv: list[str], version: str) -> Told:
    """Read a command line as GLib's GOption does (glib/goption.c, g_option_context_parse)."""
    comments, text = sample(version, "help")
    known = {name: bool(value) for _, name, value in OPTION.findall(text)}
    known |= dict.fromkeys(re.findall(r"--([a-z-]+)", comments.partition("# hidden:")[2]), False)
    short = {letter: name for letter, name, _ in OPTION.findall(text) if letter}
    told, rest = Told(), list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            told.words.append(word)
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        name = short.get(word[1:], name) if not word.startswith("--") else name
        if name == "help":
            print(text, end="")
            sys.exit(0)
        if name not in known:
            fail(f"Unknown option {word.partition('=')[0]}")
        if known[name] and not equals and not rest:
            fail(f"Missing argument for --{name}")
        told.values.setdefault(name, []).append("" if not known[name] else value if equals else rest.pop(0))
    return told


def main() -> None:
    version, state = os.environ["FAKE_RPM_OSTREE"].split(" ", 1)
    with (Path(state) / "calls").open("a") as calls:
        calls.write(json.dumps(sys.argv[1:]) + "\n")
    if sys.argv[1:3] != ["compose", "tree"]:
        fail(f"Unknown command '{sys.argv[1] if len(sys.argv) > 1 else ''}'")
    told = parse(sys.argv[3:], version)
    if not told.words:
        fail("usage error: TREEFILE must be specified")
    Composer(told, version, Path(state)).compose()


class Composer:
    """One run."""

    def __init__(self, told: Told, version: str, state: Path) -> None:
        self.told, self.version, self.state = told, version, state
        self.new = version not in ("2016.13", *STRICT)
        self.unified = "unified-core" in told.values or "ex-unified-core" in told.values
        self.treefile = Path(told.words[0])
        self.output = dict(
            re.findall(r"^\[([a-z-]+)\]\n((?:[^\[].*\n)+)", sample(version, "output")[1], re.MULTILINE)
        )

    def say(self, part: str, **values: str) -> None:
        print(
            re.sub(r"@([A-Z]+)@", lambda match: values.get(match[1].lower(), "7"), self.output.get(part, "")),
            end="",
            flush=True,
        )

    def compose(self) -> None:
        if self.new and "print-only" in self.told.values:
            print(json.dumps(self.described()))
            return
        if self.told.last("repo") is None:
            fail("usage error: --repo must be specified")
        if (self.state / "no-bwrap").exists() and not self.new:
            fail(
                "bwrap test failed, see <https://github.com/projectatomic/rpm-ostree/pull/429>: Child process"
                " exited with code 1"
            )
        self.check_repo()
        described = self.described()
        if "print-only" in self.told.values:
            print(json.dumps(described, indent=2))
            return
        self.commit(described, described["ref"].replace("${basearch}", "x86_64"))

    def check_repo(self) -> None:
        config = Path(self.told.last("repo") or "") / "config"
        if not config.is_file():
            fail("opening repo: opendir: No such file or directory")
        if self.unified and self.version in STRICT and "mode=bare-user\n" not in config.read_text():
            fail("--ex-unified-core requires a bare-user repository")
        cache = self.told.last("cachedir")
        if cache is not None and not Path(cache).is_dir():
            fail(f"Opening cachedir '{cache}': opendir: No such file or directory")
        # src/libpriv/rpmostree-core.c(xx) in newer versions: whenever no policy was loaded before, as of the
        # previous commit
        if self.unified and (self.state / "no-selinux").exists() and "print-only" not in self.told.values:
            fail("Unable to load SELinux policy from /")

    def described(self) -> dict[str, Any]:
        described: dict[str, Any] = json.loads(self.treefile.read_text())
        if "include" in described:
            described = json.loads((self.treefile.parent / described.pop("include")).read_text()) | described
        if self.new:
            described["ref"] = described["ref"].replace("${basearch}", "x86_64")
        return described

    def ostree(self, *argv: str) -> str:
        return subprocess.run(
            ["ostree", f"--repo={self.told.last('repo')}", *argv], check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, described: Mapping[str, Any], ref: str) -> None:
        refs = self.ostree("refs", "--list").split()
        previous = self.ostree("rev-parse", ref) if ref in refs else ""
        self.say("previous" if previous else "no-previous", ref=ref, previous=previous)
        added = {
            target: (self.treefile.parent / source).read_bytes()
            for source, target in described.get("add-files", [])
        }
        inputs = hashlib.sha256(json.dumps(described).encode() + b"".join(added.values())).hexdigest()
        self.say("hash", hash=inputs)
        if (
            previous
            and self.metadata(previous, "rpmostree.inputhash") == inputs
            and "force-nocache" not in self.told.values
        ):
            self.say("unchanged")
            return
        metadata = self.told_metadata(described, previous)
        made = self.write(
            ref, previous, {**metadata, "rpmostree.inputhash": inputs}, self.tree(described, added, metadata)
        )
        self.say("composed", ref=ref, commit=made)
        if report := self.told.last("write-composejson-to"):
            Path(report).write_text(json.dumps({"ref": ref, "ostree-commit": made}))
        self.die()

    def metadata(self, commit: str, key: str) -> str:
        try:
            return self.ostree("show", f"--print-metadata-key={key}", commit).strip("'")
        except subprocess.CalledProcessError:
            return ""

    def told_metadata(self, described: Mapping[str, Any], previous: str) -> dict[str, str]:
        strings = self.told.values.get("add-metadata-string", [])
        if missing := next((text for text in strings if "=" not in text), None):
            fail(f"Missing '=' in KEY=VALUE metadata '{missing}'")
        metadata = dict(text.split("=", 1) for text in strings)
        prefix = described.get("automatic_version_prefix")
        if prefix is not None and "version" not in metadata:
            last = self.metadata(previous, "version") if previous else ""
            number = re.match(re.escape(prefix) + r"(?:\.(\d+))?", last)
            metadata["version"] = f"{prefix}.{int(number[1] or 0) + 1}" if number else prefix
        return metadata

    def tree(
        self, described: Mapping[str, Any], added: Mapping[str, bytes], metadata: Mapping[str, str]
    ) -> dict[str, bytes]:
        files = {f"usr/share/{package}/README": package.encode() for package in described["packages"]}
        files["usr/lib/os-release"] = f"OSTREE_VERSION={metadata.get('version', '')}\n".encode()
        return files | {
            re.sub(r"^/?etc/", "usr/etc/", target).lstrip("/"): data for target, data in added.items()
        }

    def write(self, ref: str, previous: str, metadata: Mapping[str, str], files: Mapping[str, bytes]) -> str:
        with tempfile.TemporaryDirectory() as place:
            for name, data in files.items():
                (Path(place) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(place) / name).write_bytes(data)
            words = [f"--add-metadata-string={key}={value}" for key, value in metadata.items()]
            parent = [f"--parent={previous}"] if previous else []
            return self.ostree(
                "commit",
                f"--branch={ref}",
                f"--tree=dir={place}",
                "--owner-uid=0",
                "--owner-gid=0",
                *parent,
                *words,
            )

    def die(self) -> None:
        if (self.state / "kills").exists():
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()
        if (self.state / "dies").exists():
            os.kill(os.getpid(), signal.Signals[(self.state / "dies").read_text()])


if __name__ == "__main__":
    main()
