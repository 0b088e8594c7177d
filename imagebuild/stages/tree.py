"""Pull one commit into the pipeline's own repo, check it, and read from the tree itself what it is."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuild import steplog
from imagebuild.architectures.registry import ELF_HEAD, of_program
from imagebuild.architectures.x86_64 import X86_64
from imagebuild.config.tree import TreeConfig
from imagebuild.errors import BuildError
from imagebuild.model import Tree
from imagebuild.smoke.hosts.registry import recognise
from imagebuild.tools import isa, os_release
from imagebuild.tools.access import access_to, enforced
from imagebuild.tools.ostree import binding as ostree_binding
from imagebuild.tools.ostree import history
from imagebuild.tools.ostree import server as ostree_server
from imagebuild.tools.ostree.kernel import boot_files
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.ostree.server import Patience, TransferError

# Debian's multiarch, Fedora's
LIBC = (f"usr/lib/{X86_64.multiarch}/libc.so.6", "usr/lib64/libc.so.6")
# os-release(5) is a few lines; whatever is longer is something else
OS_RELEASE_SIZE = 64 << 10
# the last second that an unsigned number of 32 bits holds: squashfs, and others, have no more
LATEST = (1 << 32) - 1


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A ref that was resolved once: from here on only the commit counts. `update_ref` is what hosts follow
    (empty: the same ref).
    """

    ref: str
    commit: str
    update_ref: str = ""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A release besides the one before, from which hosts come, too: `name` is what its cell is told apart by,
    `url` the repository that has it (empty: the source).
    """

    pin: Pin
    version: str
    name: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Before:
    """The release before the candidate; without one `why_not` says why. `first`: it is known that there never
    was one.

    `between` are the commits between both in the candidate's history, which hosts walk to find it; `lost`
    says why they would not. `others` are older releases, newest first; `line` is the last of the release line
    before, without which `why_no_line` says why (stages/earlier.py).
    """

    pin: Pin | None
    why_not: str | None = None
    first: bool = False
    between: tuple[str, ...] = ()
    lost: str | None = None
    others: tuple[Earlier, ...] = ()
    line: Earlier | None = None
    why_no_line: str | None = None


NO_RELEASE_BEFORE = Before(pin=None, why_not="nothing was looked for")


def patience(tree: TreeConfig) -> Patience:
    """Return how hard a configuration wants pulls to try."""
    return Patience(
        attempts=tree.attempts, low_speed_bytes=tree.low_speed_bytes, low_speed_seconds=tree.low_speed_seconds
    )


def pin(
    tree: TreeConfig, ref: str, *, update_ref: str = "", say: Callable[[str], None] = steplog.note
) -> Pin:
    """Resolve a ref; `say` is told what is odd about it. Raises BuildError when a file of `tree.tls` is not
    usable, or the repository cannot be reached or has no such ref (near ones are named).
    """
    access_to(tree).check()
    commit = ostree_server.resolve(tree.url, ref, patience=patience(tree), access=access_to(tree), say=say)
    return Pin(ref=ref, commit=commit, update_ref=update_ref)


def commit_object(tree: TreeConfig, commit: str) -> bytes:
    """Return a commit object of the source, serialised. Raises BuildError when it is not there, or
    damaged.
    """
    data = ostree_server.commit_object(tree.url, commit, patience=patience(tree), access=access_to(tree))
    if data is None:
        raise BuildError(
            f"{tree.url} has no usable commit object {commit}",
            hint="the repository must be repaired (ostree fsck)",
        )
    return data


def release_before(
    tree: TreeConfig, pinned: Pin, *, given: str | None = None, released: str | None = None
) -> Before:
    """Find the release that hosts upgrade from: the one given, the one last released, the candidate's parent.
    Raises BuildError.

    `given` and `released` are commits. One that the source does not have any more cannot be upgraded from;
    that is not a first release.
    """
    parent = ostree_binding.parent_of(commit_object(tree, pinned.commit))
    ref = pinned.update_ref or pinned.ref
    for commit in (given, released, parent):
        if commit is None or commit == pinned.commit:
            continue
        found = ostree_server.commit_object(tree.url, commit, patience=patience(tree), access=access_to(tree))
        if found is None:
            return Before(pin=None, why_not=f"{tree.url} has no commit {commit} (any more)")
        refusal = ostree_binding.binding_of(found).reason_to_refuse(ref)
        if refusal:
            # a parent that nobody released, and no host can have
            first = commit == parent and commit not in (given, released)
            return Before(
                pin=None, why_not=f"hosts cannot pull the commit {commit}: it {refusal}", first=first
            )
        between, lost = _history(tree, pinned.commit, commit)
        return Before(pin=replace(pinned, commit=commit), between=between, lost=lost)
    why = (
        f"the first release: commit {pinned.commit} has no parent, none is configured (`previous`), and none"
        " was released here"
    )
    return Before(pin=None, why_not=why, first=True)


def _history(tree: TreeConfig, commit: str, older: str) -> tuple[tuple[str, ...], str | None]:
    """Return the commits between two in the source's history, and why the older one is not met in it; None
    when it is.
    """
    gone: set[str] = set()

    def parent(known: str) -> str | None:
        try:
            return ostree_binding.parent_of(commit_object(tree, known))
        except TransferError:
            raise
        except BuildError:
            gone.add(known)
            return None

    found, end = history.between(parent, commit, older)
    if end is None:
        return tuple(found), None
    return (), history.ending(commit, older, found, there=end not in gone)


def pull_commit(
    out: Path, pinned: Pin, source: TreeConfig, repo_path: Path, between: tuple[str, ...] = ()
) -> Tree:
    """Pull a commit as `pull_tree` does, but leave the ref alone, and do not read every object again: it is
    only served to guests.

    Of the commits `between` it and the candidate only the commit objects are pulled: guests walk from one to
    the next, as hosts will.
    """
    del out
    repo = _pull(pinned, source, repo_path)
    remote = replace(_remote(source), commits_only=True)
    try:
        with enforced(remote.access):
            for commit in between:
                if not repo.has_commit_object(commit):
                    repo.pull(remote, commit, patience=patience(source))
    except TransferError:
        raise
    except BuildError as error:
        # nor could hosts: a criterion says so, and everything else can be tested
        steplog.note(f"nobody can walk from the candidate to {pinned.commit}: {error.message}")
    return describe_tree(repo, pinned)


def _pull(pinned: Pin, source: TreeConfig, repo_path: Path) -> Repo:
    keys = tuple(Path(key) for key in source.gpg_keys)
    for key in keys:
        if not key.is_file():
            raise BuildError(
                f"the signing key {key} does not exist",
                hint="check tree.gpg_keys; for the demo, run `imagebuild compose` first",
            )
    repo = Repo.ensure(repo_path)
    remote = _remote(source)
    remote.access.check()
    steplog.note(f"pulling {pinned.commit} ({pinned.ref}) from {source.url}")
    with enforced(remote.access):
        repo.pull(remote, pinned.commit, patience=patience(source), progress=steplog.note)
    return repo


def _remote(source: TreeConfig) -> Remote:
    keys = tuple(Path(key) for key in source.gpg_keys)
    return Remote(url=source.url, keys=keys, verify=not source.allow_unsigned, access=access_to(source))


def pull_tree(out: Path, pinned: Pin, source: TreeConfig, repo_path: Path, arch: str | None = None) -> Tree:
    """Pull exactly the pinned commit, check signature and every object, and describe the tree, which must be
    of an architecture (None: of any).

    Raises BuildError: of another one, unsigned, wrongly signed, damaged (names the object), no kernel, no
    ostree in the initramfs's reach.
    """
    repo = _pull(pinned, source, repo_path)
    steplog.note("checking every object")
    count = repo.fsck(pinned.commit)
    repo.set_ref(pinned.ref, pinned.commit)
    tree = describe_tree(repo, pinned)
    if arch is not None and tree.arch != arch:
        raise BuildError(
            f"{pinned.ref} is a tree for {tree.arch}, and the configuration says {arch}",
            hint="correct `arch` in the configuration, or choose another ref",
        )
    steplog.note(
        f"{tree.pretty_name}, version {tree.version}: {count} objects checked, kernel {tree.kernel}, a"
        f" {tree.host_kind} host"
    )
    (out / "os-release").write_bytes(
        repo.read(pinned.commit, "usr/lib/os-release", most=OS_RELEASE_SIZE) or b""
    )
    return tree


def describe_tree(repo: Repo, pinned: Pin) -> Tree:
    """Read from a commit what it is. Raises BuildError for a tree that cannot become a host, saying what it
    lacks.
    """
    commit = pinned.commit
    kernel = _kernel(repo, commit)
    release = _os_release(repo, commit)
    files, size = 0, 0
    for entry in repo.walk(commit):
        files, size = files + 1, size + entry.size
    return Tree(
        repo=repo.path,
        ref=pinned.ref,
        update_ref=pinned.update_ref,
        commit=commit,
        version=_version(repo, commit),
        arch=_architecture(repo, commit),
        kernel=kernel,
        host_kind=recognise(lambda path: repo.has_file(commit, path)).name,
        pretty_name=release.get("PRETTY_NAME") or pinned.ref,
        os_id=_os_id(release),
        files=files,
        size=size,
        timestamp=_timestamp(repo, commit),
        isa=_isa(repo, commit),
    )


def _version(repo: Repo, commit: str) -> str:
    version = str(repo.metadata(commit).get("version", ""))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+~-]*", version):
        raise BuildError(
            f"commit {commit} has no usable metadata `version` but {version[:80]!r}",
            hint="compose it with --add-metadata-string=version=V",
        )
    return version


def _timestamp(repo: Repo, commit: str) -> int:
    timestamp = repo.timestamp(commit)
    if timestamp > LATEST:
        raise BuildError(
            f"commit {commit} has a time that file systems cannot hold: {timestamp} s after 1970",
            hint="compose it with --timestamp",
        )
    return timestamp


def _kernel(repo: Repo, commit: str) -> str:
    found = boot_files(repo, commit)
    if found.initramfs is None:
        raise BuildError(
            f"the tree has no initramfs beside its kernel {found.version}", hint="run dracut in the compose"
        )
    hooks = (
        "usr/lib/ostree/ostree-prepare-root",
        "lib/ostree/ostree-prepare-root",
        "usr/lib/dracut/modules.d/98ostree/module-setup.sh",
    )
    if not any(repo.has_file(commit, path) for path in hooks):
        raise BuildError(
            "the tree has no ostree-prepare-root: its initramfs could not find a deployment",
            hint="add ostree's boot package to the compose",
        )
    return found.version


def _os_release(repo: Repo, commit: str) -> dict[str, str]:
    """Return what the tree calls itself; nothing when it has no os-release that can be read: the ref stands
    for its name then.
    """
    for path in ("usr/lib/os-release", "usr/etc/os-release"):
        release = os_release.parse(repo.read(commit, path, most=OS_RELEASE_SIZE) or b"")
        if release:
            return release
    return {}


def _os_id(release: Mapping[str, str]) -> str:
    """Return the tree's ID; `linux`, which is os-release(5)'s default, for one that is none."""
    found = release.get("ID", "").lower()
    return found if re.fullmatch(r"[a-z0-9._-]+", found) else "linux"


def _isa(repo: Repo, commit: str) -> int:
    """Return the x86-64 level that a tree is built for: its C library says so, and what was linked with
    it.
    """
    found = [repo.read(commit, path) for path in (*LIBC, "usr/bin/ostree", "usr/bin/bash")]
    return max(isa.level(program) for program in (b"", *filter(None, found)))


def _architecture(repo: Repo, commit: str) -> str:
    for program in ("usr/bin/ostree", "usr/bin/bash", "usr/bin/busybox"):
        head = repo.read(commit, program, most=ELF_HEAD)
        if head is not None and head[:4] == b"\x7fELF":
            return of_program(head) or "unknown"
    raise BuildError(
        "the tree has neither /usr/bin/ostree nor /usr/bin/bash: is it a host?", hint="check the ref"
    )
