"""Compose a Fedora-style tree: `rpm-ostree compose tree` where it exists, with the options that the installed
version knows.

What changed with the versions (coreos/rpm-ostree, src/app/rpmostree-compose-builtin-tree.c):
`--ex-unified-core` came with 2017.11, `--unified-core` with 2018.7, `--write-composejson-to` with 2018.8. Up
to 2018.9 the unified core wanted a bare-user repository; to this day it wants a policy of SELinux on the
build host, unless the treefile says `selinux: false` (src/libpriv/rpmostree-core.c).
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from imagebuild import files, steplog
from imagebuild.architectures.registry import builder_architecture
from imagebuild.composers.composer import Composed, Composer, ComposerConfig, Job, history, sign_history
from imagebuild.config.places import source_date_epoch
from imagebuild.errors import BuildError
from imagebuild.tools import command, environment, gpg

if TYPE_CHECKING:
    from imagebuild.tools.ostree.repository import Repo

PROGRAM = ("rpm-ostree", "compose", "tree")
# GLib's GOption prints one option a line: "  -r, --repo=REPO    Path to …"
OPTION = re.compile(r"^\s+(?:-\w, )?(--[a-z0-9-]+)", re.MULTILINE)
UNIFIED, EXPERIMENTAL = "--unified-core", "--ex-unified-core"
REPORT, PRINT, METADATA = "--write-composejson-to", "--print-only", "--add-metadata-string"
# words of rpm-ostree's own errors -> what to do next
NO_POLICY = "Unable to load SELinux policy from /"
HINTS = {
    NO_POLICY: "compose where /etc/selinux has a policy, or set compose.unified_core: false",
    "root privileges": "compose as root",
    "uid 0 (root)": "compose as root",
    "bwrap": "its scripts run in bubblewrap, which containers without privileges do not allow",
}


class _NoPolicyError(BuildError):
    """The unified core found no policy of SELinux on the build host."""


@dataclass(frozen=True, kw_only=True)
class _Key:
    fingerprint: str
    homedir: Path


class RpmOstreeConfig(ComposerConfig):
    """Compose a tree with `rpm-ostree compose tree`."""

    composer: Literal["rpm-ostree"]
    treefile: str = Field(description="the treefile; what it names lies beside it")
    cache: str | None = Field(
        default=None,
        description="directory for downloaded packages; without it every compose fetches them again",
    )
    unified_core: bool | None = Field(
        default=None,
        description=(
            "compose with --unified-core; null: when the installed rpm-ostree knows it (2018.7 and newer) and"
            " the build machine has SELinux's policy"
        ),
    )
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9$][A-Za-z0-9._+~${}-]*$")] | None = Field(
        default=None,
        description=(
            "version of the next commit, as 26.${date}.${respin} (YYYYMMDD, and a number from 0); null:"
            " automatic_version_prefix"
        ),
    )
    signing_user: Annotated[str, Field(pattern=r"^[A-Za-z0-9 .,_-]+ <[^<>\s]+@[^<>\s]+>$")] | None = None
    public_key: str | None = Field(
        default=None,
        description=(
            "file that gets the public signing key before the compose, for the treefile's add-files (also:"
            " STORE/compose/signing-key.asc)"
        ),
    )

    @model_validator(mode="after")
    def _consistent(self) -> RpmOstreeConfig:
        if self.public_key is not None and self.signing_user is None:
            raise ValueError("public_key needs signing_user: nothing is signed without it")
        if self.version is not None:
            rest = self.version.replace("${date}", "20170705")
            if rest.count("${respin}") != 1 or re.search(r"[${}]", rest.replace("${respin}", "0")):
                raise ValueError(
                    "version holds ${respin} once, and no other placeholder than ${date}: commits are told"
                    " apart by it"
                )
        return self


def compose(job: Job, spec: RpmOstreeConfig) -> Composed:
    """Run `rpm-ostree compose tree` on the treefile; what it made is signed and the head of the ref in
    `directory/repo`.

    The public key is there before the compose, in `directory/signing-key.asc` and `spec.public_key`, so that
    the tree can carry it. What a run that was killed left unsigned, or in the build repository only, is
    signed and published by the next one. Raises MissingToolError where there is no rpm-ostree, BuildError
    when it fails or the treefile names another ref.
    """
    # a configuration is read where libostree is not there
    from imagebuild.tools.ostree.repository import Repo  # noqa: PLC0415

    directory, ref = job.directory, job.ref
    if job.arch != builder_architecture():
        raise BuildError(
            f"rpm-ostree composes trees of the machine's own architecture, not for {job.arch}",
            hint=f"compose it on a machine of {job.arch}",
        )
    command.require(PROGRAM[0])
    treefile = Path(spec.treefile).absolute()
    if not treefile.is_file():
        raise BuildError(f"there is no treefile {treefile}", hint="check compose.treefile")
    known = frozenset(OPTION.findall(command.run([*PROGRAM, "--help"], quiet=True)))
    with _key(directory, spec) as key:
        archive = Repo.ensure(directory / "repo")
        before = archive.refs().get(ref)
        work = _compose(directory, archive, ref, spec, known)
        commit = work.refs()[ref]
        _sign(work, commit, key)
        if work is not archive:
            _publish(work, archive, commit)
            # what an earlier run left there already
            _sign(archive, commit, key)
        archive.set_ref(ref, commit)
        archive.update_summary()
    return Composed(
        repo=archive.path, ref=ref, commit=commit, version=_version_of(archive, commit), new=commit != before
    )


def _compose(directory: Path, archive: Repo, ref: str, spec: RpmOstreeConfig, known: frozenset[str]) -> Repo:
    """Compose, and return the repository that has the commit; nobody who did not ask for the unified core
    fails for want of what it needs.
    """
    unified = _unified(spec, known)
    if unified:
        work = _build_repo(directory, archive, ref)
        try:
            _run(work, ref, spec, known, [*unified, *_cache(spec)], directory / "compose.json")
            return work
        except _NoPolicyError as error:
            if spec.unified_core:
                raise
            steplog.note(f"{error.message}\nonce more, without {unified[0]}")
    _run(archive, ref, spec, known, _cache(spec), directory / "compose.json")
    return archive


# --- options ------------------------------------------------------------------------------------------------


def _unified(spec: RpmOstreeConfig, known: frozenset[str]) -> list[str]:
    """Return the option for the unified core: when it is known, unless it is not wanted; as an experiment
    only on request.
    """
    if spec.unified_core is False:
        return []
    if UNIFIED in known:
        return [UNIFIED]
    if spec.unified_core is None:
        return []
    if EXPERIMENTAL in known:
        return [EXPERIMENTAL]
    raise BuildError(
        f"compose.unified_core: the installed rpm-ostree has no {UNIFIED}",
        hint="rpm-ostree has it since 2018.7; leave the key out to compose with what there is",
    )


def _cache(spec: RpmOstreeConfig) -> list[str]:
    if not spec.cache:
        return []
    # rpm-ostree makes none: "Opening cachedir"
    cache = Path(spec.cache).absolute()
    cache.mkdir(parents=True, exist_ok=True)
    return [f"--cachedir={cache}"]


def _version(repo: Repo, ref: str, spec: RpmOstreeConfig, known: frozenset[str]) -> list[str]:
    """Return the option that gives the next commit its version; without a template the treefile's
    automatic_version_prefix counts.
    """
    if spec.version is None:
        return []
    if METADATA not in known:
        raise BuildError(
            f"compose.version: the installed rpm-ostree has no {METADATA}", hint="leave compose.version out"
        )
    day = time.strftime("%Y%m%d", time.gmtime(source_date_epoch() or time.time()))
    pattern = re.compile(
        re.escape(Template(spec.version).substitute(date=day, respin="\0")).replace("\0", "([0-9]+)")
    )
    head = repo.refs().get(ref)
    used = [
        int(match[1])
        for commit in history(repo, head)
        if (match := pattern.fullmatch(_version_of(repo, commit)))
    ]
    return [
        f"{METADATA}=version={Template(spec.version).substitute(date=day, respin=max(used, default=-1) + 1)}"
    ]


def _version_of(repo: Repo, commit: str) -> str:
    return str(repo.metadata(commit).get("version", ""))


# --- composing ----------------------------------------------------------------------------------------------


def _run(
    work: Repo, ref: str, spec: RpmOstreeConfig, known: frozenset[str], options: list[str], report: Path
) -> None:
    """Compose into a repository. Raises BuildError: rpm-ostree failed, or made another ref."""
    treefile = Path(spec.treefile).absolute()
    argv: list[str | Path] = [*PROGRAM, f"--repo={work.path}", *options, *_version(work, ref, spec, known)]
    if PRINT in known:
        _check_ref([*argv, PRINT, treefile], treefile, ref)
    report.unlink(missing_ok=True)
    before = work.refs()
    try:
        epoch = source_date_epoch()
        command.run(
            [*argv, *([f"{REPORT}={report}"] if REPORT in known else []), treefile],
            # the time of the commit
            env=environment.outward() | ({"SOURCE_DATE_EPOCH": str(epoch)} if epoch is not None else {}),
        )
    except command.CommandError as error:
        raise _failed(treefile, error) from error
    after = work.refs()
    moved = sorted(name for name, commit in after.items() if before.get(name) != commit)
    if ref not in after or (moved and ref not in moved):
        raise _other_ref(treefile, ", ".join(moved) or "nothing", ref)


def _failed(treefile: Path, error: command.CommandError) -> BuildError:
    kind = _NoPolicyError if NO_POLICY in error.output else BuildError
    hint = next(
        (hint for words, hint in HINTS.items() if words in error.output),
        "the log has all that rpm-ostree said",
    )
    return kind(f"{treefile} could not be composed: {error.message}", hint=hint, log=error.log)


def _check_ref(argv: list[str | Path], treefile: Path, ref: str) -> None:
    """Raise BuildError when the treefile, its includes read, names another ref: that is known before hours of
    composing.

    Old versions leave `${basearch}` in it. What cannot be read is left to the compose itself, which says why.
    """
    with contextlib.suppress(command.CommandError, ValueError):
        said = json.loads(command.run(argv, quiet=True))
        named = said.get("ref") if isinstance(said, dict) else None
        if isinstance(named, str):
            pattern = "[^/]+".join(re.escape(part) for part in re.split(r"\$\{[^}]*\}", named))
            if not re.fullmatch(pattern, ref):
                raise _other_ref(treefile, named, ref)


def _other_ref(treefile: Path, made: str, ref: str) -> BuildError:
    return BuildError(
        f"{treefile} composes {made}, not {ref}",
        hint="the treefile's `ref` and the configuration's `refs` must agree",
    )


# --- the build repository -----------------------------------------------------------------------------------


def _build_repo(directory: Path, archive: Repo, ref: str) -> Repo:
    """Return the bare-user repository that the unified core composes in, with the head of `ref` that the
    archive has, or a newer one.
    """
    # a configuration is read where libostree is not there
    from imagebuild.tools.ostree.repository import Repo  # noqa: PLC0415

    build = Repo.ensure(directory / "build-repo", "bare-user")
    published = archive.refs().get(ref)
    if published is not None and published not in history(build, build.refs().get(ref)):
        build.pull_local(archive, published)
        build.set_ref(ref, published)
    return build


def _publish(build: Repo, archive: Repo, commit: str) -> None:
    """Copy a commit into the archive, and those before it that a killed run left behind."""
    missing = [ancestor for ancestor in history(build, commit) if not archive.has(ancestor)]
    for ancestor in reversed(missing):
        archive.pull_local(build, ancestor)


# --- signing ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _key(directory: Path, spec: RpmOstreeConfig) -> Iterator[_Key | None]:
    """Yield the key that signs; its public part is where the treefile's add-files finds it."""
    if spec.signing_user is None:
        yield None
        return
    with gpg.keyring(directory / "gnupg") as homedir:
        fingerprint = gpg.ensure_key(homedir, spec.signing_user)
        public = directory / "signing-key.asc"
        gpg.export_key(homedir, fingerprint, public)
        if spec.public_key is not None and _differs(Path(spec.public_key), public):
            files.replace(Path(spec.public_key), public.read_bytes())
        yield _Key(fingerprint=fingerprint, homedir=homedir)


def _differs(file: Path, other: Path) -> bool:
    return not file.is_file() or file.read_bytes() != other.read_bytes()


def _sign(repo: Repo, head: str, key: _Key | None) -> None:
    if key is not None:
        sign_history(repo, head, key.fingerprint, key.homedir)


RPM_OSTREE = Composer(
    name="rpm-ostree", options=RpmOstreeConfig, compose=compose, tools=("rpm-ostree", "gpg")
)
