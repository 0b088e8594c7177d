"""What a verification finds: what was checked, and what is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class ProblemKind(StrEnum):
    """What is wrong; in the order of exit codes (4, 5, …)."""

    SIGNATURE = "signature"
    MISSING = "missing"
    CHANGED = "changed"
    EXTRA = "extra"
    PAGE = "page"
    METADATA = "metadata"
    IMAGE = "image"
    UNREADABLE = "unreadable"


EXIT_CODES = {kind: 4 + number for number, kind in enumerate(ProblemKind)}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with a release, and the file it is wrong with."""

    kind: ProblemKind
    path: str
    says: str


@dataclass(kw_only=True)
class Verification:
    """What a verification has found so far: problems, and what was checked."""

    compose_id: str = ""
    # architecture -> commit
    commits: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    version: str = ""
    files: int = 0
    bytes: int = 0
    images: dict[str, list[str]] = field(default_factory=dict)
    not_opened: str = ""
    problems: list[Finding] = field(default_factory=list)

    def add(self, kind: ProblemKind, path: str, says: str) -> None:
        """Add a problem."""
        self.problems.append(Finding(kind=kind, path=path, says=says))

    def exit_code(self) -> int:
        """Return 0, or the code of the gravest kind of problem."""
        return min((EXIT_CODES[problem.kind] for problem in self.problems), default=0)


def describe(result: Verification) -> Sequence[str]:
    """Return what a verification found, a line each."""
    lines = [
        f"{problem.kind}: {problem.path + ': ' if problem.path else ''}{problem.says}"
        for problem in result.problems
    ]
    if not result.problems:
        commits = [f"commit {result.commit}"]
        if len(result.commits) > 1:
            commits = [f"commit {commit} of {arch}" for arch, commit in result.commits.items()]
        lines.append(
            f"{result.compose_id}: {result.files} files ({result.bytes} bytes) are what was signed; version"
            f" {result.version}, {', '.join(commits)}"
        )
        lines += [f"  holds that commit: {path}" for path in result.images]
    if result.not_opened:
        lines.append(f"not checked: {result.not_opened}")
    return lines
