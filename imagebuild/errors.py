"""What can go wrong in a build, said so that the reader knows the next thing to do."""

from pathlib import Path


class BuildError(Exception):
    """A failure with a sentence for the user, advice, and the log to read.

    `exit_code` is what the process ends with when this error ends it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.log = log

    def __reduce__(self) -> tuple[object, ...]:
        """Errors travel between processes when the graph runs on a cluster."""
        return (_rebuild, (type(self), self.message, self.__dict__))


def _rebuild(kind: type[BuildError], message: str, state: dict[str, object]) -> BuildError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class UsageError(BuildError):
    """The command line or the configuration asks for something that does not exist."""

    exit_code = 2


class MissingToolError(BuildError):
    """A program or library of the build host is not installed."""


class EvidenceError(BuildError):
    """A failure that leaves something to look at: `evidence` is a file or directory of the step's output,
    which is kept.
    """

    def __init__(
        self, message: str, *, hint: str = "", log: Path | None = None, evidence: Path | None = None
    ) -> None:
        super().__init__(message, hint=hint, log=log)
        self.evidence = evidence


class CriteriaError(BuildError):
    """The artifact was built and booted, but the release criteria do not hold; `evidence` says why."""

    exit_code = 3

    def __init__(
        self, message: str, *, hint: str = "", log: Path | None = None, evidence: Path | None = None
    ) -> None:
        super().__init__(message, hint=hint, log=log)
        self.evidence = evidence
