"""Programs are run on the host under test; whatever they say is written to the criterion's evidence."""

import contextlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from imagebuild import json_text
from imagebuild.smoke.host.errors import RigError
from imagebuild.smoke.hosts.commands import HostCommands
from imagebuild.tools import command
from imagebuild.tools.ssh import Answer, Patience, by_the_clock

# seconds at native speed; multiplied by the accelerator's slowness
COMMAND_SECONDS = 30.0
# how often a program is begun anew that ssh did not get in to run, and how long to wait before (native
# seconds)
BEGUN_ANEW, ANEW_SECONDS = 3, 5.0
# what sudo says before anything else where the host's own name is neither in /etc/hosts nor known to a name
# server (sudo 1.8, plugins/sudoers/sudoers.c, set_fqdn; newer ones add a colon and the resolver's words)
UNRESOLVED = re.compile(r"\A(?:sudo: unable to resolve host [^\n]*\n?)+")
# longer answers in JSON are logged without their long lists: each `rpm-ostree status --json` has every
# package of every deployment
LONG_ANSWER, LONG_LIST = 2000, 12


class Transport(Protocol):
    """How a program is run on the host under test."""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        """Run a program and return how it ended."""


class Power(Protocol):
    """The machine below the host."""

    def restart(self, name: str) -> str | None:
        """Wait for the machine to have shut itself down, boot it again from the same disk, and return what
        went wrong; None for nothing.

        Raises RigError when what went wrong is not the host's fault.
        """

    def fatal(self) -> str | None:
        """Return what on the console says that the host is dead; None for nothing."""


@dataclass
class Programs:
    """What runs programs on a host. Everything that is run is written to the criterion's evidence; `patience`
    is how long things are waited for.
    """

    transport: Transport
    commands: HostCommands
    slowness: float = 1.0
    evidence: tuple[Path, ...] = ()
    power: Power | None = None
    patience: Patience = by_the_clock
    journals: list[str] = field(default_factory=list)
    # whether it was said that sudo cannot resolve the host's name
    unresolved: bool = False

    def run(
        self,
        *argv: str,
        stdin: bytes = b"",
        seconds: float = COMMAND_SECONDS,
        root: bool = True,
        quiet: bool = False,
    ) -> Answer:
        """Run a program (as root, through sudo) that may fail, and return how it ended. Raises RigError when
        the host is gone.

        `quiet`: what it prints goes elsewhere, and is not repeated in the evidence.
        """
        words = ["sudo", "-n", "--", *argv] if root else argv
        answer = self.transport.run(words, stdin=stdin, timeout=seconds * self.slowness)
        for _ in range(BEGUN_ANEW):
            if not answer.never_begun or (self.power is not None and self.power.fatal()):
                break
            self._write(argv, answer)
            time.sleep(ANEW_SECONDS * self.slowness)
            answer = self.transport.run(words, stdin=stdin, timeout=seconds * self.slowness)
        if root:
            answer = self._without_sudos_words(answer)
        shown = f"({len(answer.output)} characters)\n" if quiet else _without_long_lists(answer.output)
        self._write(argv, replace(answer, output=shown))
        if answer.status == 255:
            self._judge_silence(argv, answer)
        return answer

    def _without_sudos_words(self, answer: Answer) -> Answer:
        """Take away what sudo itself says of the host's name, and write it into the evidence once: as
        released, Fedora's hosts were so.
        """
        said = UNRESOLVED.search(answer.complaint) or UNRESOLVED.search(answer.output)
        if said is None:
            return answer
        if self.evidence and not self.unresolved:
            self.unresolved = True
            self.note(f"# {said.group().splitlines()[0]} (before every command; it is left out from here on)")
        return replace(
            answer, complaint=UNRESOLVED.sub("", answer.complaint), output=UNRESOLVED.sub("", answer.output)
        )

    def _judge_silence(self, argv: Sequence[str], answer: Answer) -> None:
        """Say whose fault it is that a program did not answer. Returns when it did: 255 may be its own
        status.
        """
        program = command.describe(argv)
        dead = self.power.fatal() if self.power is not None else None
        assert dead is None, f"the host died during {program}: {dead}"
        if answer.cut_off:
            raise RigError(
                f"the connection to the host broke during {program}:"
                f" {answer.complaint.strip()[-300:] or 'without a word'}"
            )
        # a program that hangs on a host that answers is the product's fault
        alive = self.transport.run(["true"], timeout=COMMAND_SECONDS * self.slowness).status == 0
        assert not (alive and answer.late), (
            f"`{program}` did not end, on a host that answers: {answer.complaint}"
        )
        if not alive:
            raise RigError(f"the host does not answer to {program}: {answer.complaint.strip()[-300:]}")

    def succeeds(self, *argv: str, stdin: bytes = b"", seconds: float = COMMAND_SECONDS) -> str:
        """Run a program that must succeed and return what it printed."""
        answer = self.run(*argv, stdin=stdin, seconds=seconds)
        assert answer.status == 0, (
            f"`{command.describe(argv)}` ended with {answer.status}:"
            f" {(answer.complaint or answer.output).strip()[-500:]}"
        )
        return answer.output

    def _write(self, argv: Sequence[str], answer: Answer) -> None:
        self.note(
            f"$ {command.describe(argv)}\n{answer.output}{answer.complaint}[{answer.status},"
            f" {answer.seconds:.1f} s]"
        )

    def note(self, text: str) -> None:
        """Write a line into the evidence."""
        for file in self.evidence:
            with file.open("a") as stream:
                stream.write(text + "\n")

    @contextlib.contextmanager
    def noting(self, *files: Path) -> Iterator[None]:
        """Write the evidence to these files, too, until the block ends."""
        before = self.evidence
        self.evidence = (*before, *files)
        try:
            yield
        finally:
            self.evidence = before


def _without_long_lists(text: str) -> str:
    """Return an answer as it is logged: of one in JSON that is long, each long list is only counted."""
    if len(text) <= LONG_ANSWER or not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.dumps(_counted(json_text.parse(text)), indent=1) + "\n"
    except ValueError:
        return text


def _counted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _counted(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_counted(each) for each in value] if len(value) <= LONG_LIST else f"({len(value)} entries)"
    return value
