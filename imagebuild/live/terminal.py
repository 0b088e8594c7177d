"""The person in front of the machine: text on every console, answers from whichever is typed on."""

import contextlib
import os
import selectors
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path

from imagebuild import steplog

ACTIVE = Path("/sys/class/tty/console/active")
LONGEST = 8192


def consoles() -> list[Path]:
    """Return the devices of the kernel's consoles; the current virtual one is tty1, where nobody else is."""
    names = ACTIVE.read_text().split() if ACTIVE.exists() else ["console"]
    found = [Path("/dev") / ("tty1" if name == "tty0" else name) for name in names]
    # the kernel lists a serial line that it was told of, whether or not the machine has one
    return [device for device in found if _is_terminal(device)]


def _is_terminal(device: Path) -> bool:
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        termios.tcgetattr(descriptor)
    except termios.error:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


class Terminal:
    """All consoles at once. Without a prefix for the reader to find, a line would drown in the kernel's
    own.
    """

    PREFIX = "imagebuild: "

    def __init__(self, devices: Sequence[Path] | None = None) -> None:
        self.descriptors = []
        for device in devices if devices is not None else consoles():
            with contextlib.suppress(OSError):  # a console without a device behind it
                self.descriptors.append(os.open(device, os.O_RDWR | os.O_NOCTTY))

    def say(self, text: str) -> None:
        """Show a sentence, and keep it in the log."""
        steplog.note(text)
        self.write("".join(f"{self.PREFIX}{line}\r\n" for line in text.split("\n")))

    def write(self, text: str) -> None:
        """Write to every console; one that is gone does not matter."""
        for descriptor in self.descriptors:
            with contextlib.suppress(OSError):
                os.write(descriptor, text.encode())

    def ask(self, prompt: str, *, secret: bool = False) -> str:
        """Return the line that was typed first, on any console. Raises EOFError when no console can be
        read.
        """
        with self._echo(on=not secret):
            for descriptor in self.descriptors:
                # what was typed before the question does not answer it
                termios.tcflush(descriptor, termios.TCIFLUSH)
            self.write(f"{prompt} ")
            line = self._line()
        self.write("\r\n" if secret else "")
        return line.strip()

    def _line(self) -> str:
        pending = dict.fromkeys(self.descriptors, b"")
        with selectors.DefaultSelector() as selector:
            for descriptor in self.descriptors:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    data = _read(key.fd)
                    if not data:
                        selector.unregister(key.fd)
                        continue
                    pending[key.fd] += data
                    if b"\n" in pending[key.fd] or len(pending[key.fd]) > LONGEST:
                        return pending[key.fd].split(b"\n")[0].decode("utf-8", "replace")
        raise EOFError("no console can be read")

    @contextlib.contextmanager
    def _echo(self, *, on: bool) -> Iterator[None]:
        before = {descriptor: termios.tcgetattr(descriptor) for descriptor in self.descriptors}
        for descriptor, settings in before.items():
            changed = list(settings)
            # whole lines, with or without what is typed
            changed[0] |= termios.ICRNL
            changed[3] = (
                (changed[3] | termios.ICANON | termios.ECHO)
                if on
                else ((changed[3] | termios.ICANON) & ~termios.ECHO)
            )
            termios.tcsetattr(descriptor, termios.TCSANOW, changed)
        try:
            yield
        finally:
            for descriptor, settings in before.items():
                termios.tcsetattr(descriptor, termios.TCSANOW, settings)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
