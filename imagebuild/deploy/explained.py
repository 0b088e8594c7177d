"""Whether a disk's deployment is its commit: every file of it, by checksum, with mode, owners and extended
attributes (capabilities and labels among them), and the kernel in /boot.

`ostree diff` compares a directory with a commit in that way (libostree 2022.7, ostree-diff.c, diff_dirs: the
checksum of a file object covers all of these). The commit is read from the toolbox, never from the disk. An
object that is hard-linked into the disk's own repository is read as well: what its name says is only what it
was once.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from imagebuild.deploy.target import REPO, SYSROOT, Sandbox
from imagebuild.errors import BuildError
from imagebuild.tools.ostree.commit_reader import CommitEntry
from imagebuild.tools.ostree.repository import Repo

# how many differences are named, and how many lines and bytes of them are read at all
SHOWN, MOST_LINES, MOST_BYTES = 20, 1000, 1 << 20
CHUNK = 1 << 20
NOT_ITS, CHANGED = "is not the commit's: ", "it was changed"
# each line: a word, a tab, base64. Only the toolbox's programs run. /etc begins as a copy of /usr/etc, and is
# the host's own from then on: of it, as of /boot, only what gives rights is looked for here. grep(1)
# ends with 1 when nothing differs besides
SCRIPT = r"""
set -eu
repo=$1 commit=$2 root=$3 boot=$4 lines=$5 bytes=$6
say() { printf '%s\t' "$1"; head -c "$bytes" | base64 -w0; echo; }
list=$(mktemp)
ostree "--repo=$repo" diff "$commit" "$root" > "$list"
{ LC_ALL=C grep -av '^A    etc/' "$list" || true; } | head -n "$lines" | say different
rm "$list"
find "$root/etc" "$boot" -xdev '(' -type f -perm /6000 -o -type b -o -type c -o -type p -o -type s ')' \
    -printf '%M %p\0' | say special
find "$boot/ostree" -mindepth 2 -maxdepth 2 -type f ! -name '*.hmac' -exec sha256sum -z {} + | say kernels
"""
# the type and mode, owners and size of each path, and a regular file's checksum (`-` for others)
ABOUT = r"""
root=$1; shift
for each; do
    sum=-
    if [ -f "$root$each" ] && ! [ -L "$root$each" ]; then sum=$(sha256sum < "$root$each"); fi
    printf '%s %s\n' "$(stat -c '%f %u %g %s' "$root$each" || echo '0 0 0 0')" "${sum%% *}"
done
"""
DIFFERENCE = re.compile(r"^([AMD])    /?(.*)$", re.DOTALL)
# where the kernel of a commit may lie (libostree 2022.7, ostree-sysroot-deploy.c, get_kernel_from_tree)
KERNELS = ("usr/lib/ostree-boot", "boot")


@dataclass(frozen=True)
class Allowed:
    """What a deployment has besides its commit, or lacks (`A`, `D`), and why: paths that match a pattern."""

    kind: str
    pattern: str
    reason: str


ALLOWED = (
    Allowed("A", r"etc", "libostree copies /usr/etc there (ostree-sysroot-deploy.c, merge_configuration)"),
    Allowed("A", r"\.ostree\.cfs", "the image of composefs that libostree makes from the commit"),
    Allowed("D", r"var/.+", "since 2024.3 the commit's /var goes into the stateroot (NEWS of libostree)"),
)


def problems(
    target: Sandbox,
    deployment: PurePosixPath,
    repo: Repo,
    commit: str,
    *,
    source: str = REPO,
    boot: PurePosixPath = SYSROOT / "boot",
) -> list[str]:
    """Return what of a deployment and of /boot the commit does not explain, a sentence each, at most SHOWN
    and the number of others. The file systems are mounted read-only; `source` is the repository with the
    commit, `boot` the host's /boot, as the target sees them. Raises BuildError.
    """
    said = _read(target, [source, commit, deployment, boot])
    found = _differing(said["different"], target, deployment, repo, commit)
    found += [_special(line, deployment, boot) for line in said["special"].split("\0") if line]
    found += _kernels(said["kernels"], repo, commit)
    return found[:SHOWN] + ([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])


def _read(target: Sandbox, places: Sequence[str | PurePosixPath]) -> dict[str, str]:
    """Return what the disk says, by the words of SCRIPT. Raises BuildError."""
    said = target.run(["sh", "-c", SCRIPT, "sh", *places, str(MOST_LINES), str(MOST_BYTES)])
    found = {}
    for line in said.splitlines():
        word, _, encoded = line.partition("\t")
        try:
            found[word] = base64.b64decode(encoded, validate=True).decode("utf-8", "surrogateescape")
        except ValueError as error:
            raise BuildError(f"the disk cannot be looked into: it answered {line[:80]!r}") from error
    if missing := {"different", "special", "kernels"} - found.keys():
        raise BuildError(f"the disk cannot be looked into: nothing was said of {', '.join(sorted(missing))}")
    return found


def _differing(text: str, target: Sandbox, deployment: PurePosixPath, repo: Repo, commit: str) -> list[str]:
    """Return a sentence for each line of `ostree diff` that is not on the list."""
    differences = [one for one in _differences(text) if not allowed(*one)]
    changed = [path for kind, path in differences if kind == "M"][:SHOWN]
    why = _reasons(target, deployment, repo, commit, changed) if changed else {}
    says = {"A": "is not in the commit", "D": "of the commit is missing"}
    return [
        f"{_shown(path)} {says.get(kind) or NOT_ITS + why.get(path, CHANGED)}" for kind, path in differences
    ]


def allowed(kind: str, path: str) -> bool:
    """Whether a difference is on the list."""
    return any(one.kind == kind and re.fullmatch(one.pattern, path) for one in ALLOWED)


def _differences(text: str) -> Iterator[tuple[str, str]]:
    """Yield (A, M or D, path without its first slash). A line that begins otherwise is the rest of a name
    with a line feed in it: the line before it says that there is something.
    """
    for line in text.split("\n"):
        match = DIFFERENCE.match(line)
        if match is not None:
            yield match.group(1), match.group(2)


def _shown(path: str) -> str:
    """Return a path as a terminal and a page may show it."""
    return repr(f"/{path[:200]}")[1:-1]


def _special(line: str, deployment: PurePosixPath, boot: PurePosixPath) -> str:
    mode, _, path = line.partition(" ")
    path = path.removeprefix(f"{deployment}/").removeprefix(f"{boot.parent}/")
    what = "gives its owner's rights to whoever runs it" if mode.startswith("-") else "is a device or pipe"
    return f"{_shown(path)} {what} ({mode})"


def _reasons(
    target: Sandbox, deployment: PurePosixPath, repo: Repo, commit: str, paths: list[str]
) -> dict[str, str]:
    """Return path -> in what it differs from the commit's."""
    said = target.run(["sh", "-c", ABOUT, "sh", deployment, *[f"/{path}" for path in paths]])
    lines = [line.split() for line in said.splitlines()]
    found = {}
    for path, words in zip(paths, lines, strict=False):
        entry = repo.find(commit, path, follow=False)
        if entry is not None and len(words) == 5:
            found[path] = _reason(entry, repo, words)
    return found


def _reason(entry: CommitEntry, repo: Repo, words: list[str]) -> str:
    mode, owner, group = int(words[0], 16), int(words[1]), int(words[2])
    found = []
    if mode >> 12 != entry.mode >> 12:
        return "it is of another type"
    if mode != entry.mode:
        found.append(f"its mode is {mode & 0o7777:04o}, not {entry.mode & 0o7777:04o}")
    if (owner, group) != (entry.uid, entry.gid):
        found.append(f"its owners are {owner}:{group}, not {entry.uid}:{entry.gid}")
    if entry.is_file and words[4] != _digest(repo, entry):
        found.append("its content is another one")
    return ", ".join(found) or (
        "its target is another one, or its extended attributes are"
        if entry.is_link
        else "its extended attributes (capabilities, labels) are others"
    )


def _digest(repo: Repo, entry: CommitEntry) -> str:
    digest, (stream, _) = hashlib.sha256(), repo.open_file(entry.checksum)
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _kernels(text: str, repo: Repo, commit: str) -> list[str]:
    """Return which files beside the kernels in /boot are not the commit's."""
    lines = [line.partition("  ") for line in text.split("\0") if line]
    places = [f"usr/lib/modules/{name}" for name in repo.listing(commit, "usr/lib/modules")] + [*KERNELS]
    known = {
        _digest(repo, entry)
        for place in places
        for name in repo.listing(commit, place)
        if (entry := repo.find(commit, f"{place}/{name}")) is not None and entry.is_file
    }
    return [
        f"{_shown('boot/ostree/' + path.rpartition('/ostree/')[2])} is not the commit's kernel or initramfs"
        for digest, _, path in lines
        if digest not in known
    ]
