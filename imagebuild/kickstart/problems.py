"""What is wrong with a kickstart is gathered and said at once, each problem with its file and line."""

import contextlib
import re
from collections.abc import Iterator, Sequence

from imagebuild.errors import BuildError

MOST, MOST_HINTS = 100, 5
# where each line of a text comes from: (file, line in it)
Origin = Sequence[tuple[str, int]]


class BadKickstartError(BuildError):
    """A kickstart that cannot be parsed or executed: a line for each problem, which begins with file and
    line.
    """


class Problems:
    """What is wrong with one kickstart."""

    def __init__(self, name: str) -> None:
        self.name = name
        # as sets that keep their order: what is wrong for two reasons is said once
        self._messages: dict[str, None] = {}
        self._hints: dict[str, None] = {}
        self._secrets: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._messages)

    def hide(self, *secrets: str) -> None:
        """Show passphrases in no message: what is wrong with their lines would quote them."""
        self._secrets.update(secrets)

    def add(self, line: int, text: str, hint: str = "") -> None:
        """Remember a problem of a line; 0: of the kickstart as a whole."""
        text = " ".join(text.split("\n"))
        self._remember(f"{self.name}:{line}: {text}" if line else f"{self.name}: {text}", hint)

    def lines(self) -> set[int]:
        """Return the lines that have a problem."""
        return {int(line) for message in self._messages if (line := self._line(message)) != float("inf")}

    def extend(self, other: "Problems") -> None:
        """Remember another one's problems too."""
        self._secrets |= other._secrets
        for message in other._messages:
            self._remember(message, "")
        for hint in other._hints:
            self._remember("", hint)

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """Remember what is raised in the block, and go on behind it."""
        try:
            yield
        except BadKickstartError as error:
            for message in error.message.split("\n"):
                self._remember(message, error.hint)

    def refuse(self) -> None:
        """Raise BadKickstartError with all that was remembered, in the order of the lines; nothing when there
        is nothing.
        """
        messages = sorted(self._messages, key=self._line)
        if len(messages) > MOST:
            messages[MOST:] = [
                f"{self.name}: … and {len(messages) - MOST} more like these: is it a kickstart?"
            ]
        if messages:
            raise BadKickstartError(
                "\n".join(map(self._without_secrets, messages)),
                hint="; ".join(list(self._hints)[:MOST_HINTS]),
            )

    def _without_secrets(self, message: str) -> str:
        for secret in self._secrets:
            message = message.replace(secret, "(a passphrase)")
        return message

    def _line(self, message: str) -> float:
        """Return the line that a message is about: what has none comes last."""
        match = re.match(r":(\d+): ", message.removeprefix(self.name))
        return int(match.group(1)) if match else float("inf")

    def _remember(self, message: str, hint: str) -> None:
        if message:
            self._messages[message] = None
        if hint:
            self._hints[hint] = None


@contextlib.contextmanager
def located(name: str, origin: Origin) -> Iterator[None]:
    """Name the file and line that a text's line comes from, in what is raised in the block. Lines behind
    `origin` are the text's own.
    """
    try:
        yield
    except BadKickstartError as error:
        if not origin:
            raise
        message = re.sub(
            rf"^{re.escape(name)}:(\d+)(?=: )",
            lambda match: where_from(name, int(match.group(1)), origin),
            error.message,
            flags=re.MULTILINE,
        )
        raise BadKickstartError(message, hint=error.hint, log=error.log) from error


def where_from(name: str, line: int, origin: Origin) -> str:
    """Return file and line, as messages begin with, of a text's line."""
    file, number = origin[line - 1] if 0 < line <= len(origin) else (name, line)
    return f"{file}:{number}"
