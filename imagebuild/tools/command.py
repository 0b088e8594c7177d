"""The only module that runs programs: argv lists, a UTF-8 C locale, output streamed to the step's log.

Every program runs in a session of its own and is killed when the pipeline dies, however it dies: `end_all` on
Ctrl-C, the kernel's parent-death signal on `kill -9`.
"""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import IO

from imagebuild import files, steplog
from imagebuild.errors import BuildError, MissingToolError

GRACE_SECONDS = 3.0
# for an unmount when everything ends
LAST_SECONDS = 10.0
TAIL_LINES = 15
# the death signal is set now: if the pipeline was killed just before that, its child has another parent
# already
GUARD = 'test "$PPID" = "$1" || exit 137; shift; exec "$@"'

# program -> (Debian package, Fedora package)
SAYS_VERSION = {"busybox": "--help", "mksquashfs": "-version", "openssl": "version", "ssh": "-V"}
PACKAGES: Mapping[str, tuple[str, str]] = {
    "busybox": ("busybox-static", "busybox"),
    "bzip2": ("bzip2", "bzip2"),
    "chromium": ("chromium", "chromium"),
    "createrepo_c": ("createrepo-c", "createrepo_c"),
    "checkisomd5": ("isomd5sum", "isomd5sum"),
    "gpg": ("gnupg", "gnupg2"),
    "implantisomd5": ("isomd5sum", "isomd5sum"),
    "losetup": ("mount", "util-linux-core"),
    "lz4": ("lz4", "lz4"),
    "mcopy": ("mtools", "mtools"),
    "mkfs.vfat": ("dosfstools", "dosfstools"),
    "mksquashfs": ("squashfs-tools", "squashfs-tools"),
    "mmdebstrap": ("mmdebstrap", "mmdebstrap"),
    "openssl": ("openssl", "openssl"),
    "ostree": ("ostree", "ostree"),
    "qemu-img": ("qemu-utils", "qemu-img"),
    "qemu-system-x86_64": ("qemu-system-x86", "qemu-system-x86"),
    "rpm": ("rpm", "rpm"),
    "rsync": ("rsync", "rsync"),
    "rpmbuild": ("rpm", "rpm-build"),
    "rpm-ostree": ("", "rpm-ostree"),
    "setpriv": ("util-linux", "util-linux"),
    "sfdisk": ("fdisk", "util-linux"),
    "skopeo": ("skopeo", "skopeo"),
    "sqfs2tar": ("squashfs-tools-ng", "squashfs-tools-ng"),
    "sqfstar": ("squashfs-tools", "squashfs-tools"),
    "ssh": ("openssh-client", "openssh-clients"),
    "ssh-keygen": ("openssh-client", "openssh"),
    "xorriso": ("xorriso", "xorriso"),
    "xz": ("xz-utils", "xz"),
    "zstd": ("zstd", "zstd"),
}

_background: ContextVar[tuple[str, ...]] = ContextVar("imagebuild_background", default=())
_running: set["Process"] = set()
_cancel: set[Callable[[], None]] = set()
_guard = threading.Lock()
_ended = threading.Event()


class CommandError(BuildError):
    """A program ended badly; `output` is everything it printed, `returncode` negative when a signal ended
    it.
    """

    def __init__(
        self, message: str, *, returncode: int, output: str, hint: str = "", log: Path | None = None
    ) -> None:
        super().__init__(message, hint=hint, log=log)
        self.returncode = returncode
        self.output = output


def search_path() -> str:
    """Return PATH with the sbin directories that ordinary users lack."""
    return os.pathsep.join([os.environ.get("PATH", "/usr/bin:/bin"), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def find(program: str) -> Path | None:
    """Return where `program` is installed, or None."""
    found = shutil.which(program, path=search_path())
    return Path(found) if found else None


def require(program: str) -> Path:
    """Return where `program` is installed.

    Raises MissingToolError, which names the package that has it.
    """
    found = find(program)
    if found is None:
        debian, fedora = PACKAGES.get(program, ("", ""))
        known = [f"apt-get install {debian}" if debian else "", f"dnf install {fedora}" if fedora else ""]
        hint = " or ".join(text for text in known if text) or f"install {program} and make sure it is in PATH"
        raise MissingToolError(f"the program {program} is not installed", hint=hint)
    return found


@functools.cache
def version(program: str) -> str:
    """Return the first version number that a program prints when it is asked (it belongs into keys); of one
    that does not say, the beginning of its file's SHA-256.
    """
    file = require(program)
    finished = subprocess.run(
        [file, SAYS_VERSION.get(program, "--version")],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(None),
        stdin=subprocess.DEVNULL,
    )
    match = re.search(r"\d+(?:\.\d+)+[\w.+~-]*", finished.stdout + finished.stderr)
    return match.group() if match else f"sha256 {files.sha256(file)[:12]}"


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("LC_") and name != "LANGUAGE"
    }
    return {**kept, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PATH": search_path(), **(extra or {})}


def describe(argv: Sequence[str | Path]) -> str:
    """Return argv as one readable line (not for a shell to run)."""
    return " ".join(
        repr(str(word)) if re.search(r"[\s'\"]", str(word)) or not str(word) else str(word) for word in argv
    )


class Process:
    """A running program. Its output goes to the step's log as it comes; `stdout` is kept unless it went
    elsewhere.

    One with `patience` (seconds) has a clean-up of its own: when it is to end, it alone hears of it, by one
    SIGINT, has that long, and what it left running is killed. Of others the whole group hears, by SIGTERM.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        stdin: IO[bytes] | bytes | None = None,
        stdout: IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        quiet: bool = False,
        shown: Sequence[str | Path] | None = None,
        patience: float = 0.0,
    ) -> None:
        self.patience = patience
        self.argv = [str(word) for word in argv]
        self.shown = [str(word) for word in shown] if shown is not None else self.argv
        self._log = None if quiet else steplog.current()
        self._said: list[bytes] = []
        self._kept: list[bytes] = []
        program = str(require(self.argv[0])) if "/" not in self.argv[0] else self.argv[0]
        if not quiet:
            steplog.note(f"$ {describe(self.shown)}")
        # under the guard: `end_all` sees every program that was started, or none is started any more
        with _guard:
            if _ended.is_set():
                raise BuildError("interrupted")
            self._popen = subprocess.Popen(
                [
                    *_background.get(),
                    str(require("setpriv")),
                    "--pdeathsig",
                    "KILL",
                    "--",
                    "/bin/sh",
                    "-c",
                    GUARD,
                    "sh",
                    str(os.getpid()),
                    program,
                    *self.argv[1:],
                ],
                stdin=(
                    subprocess.PIPE
                    if isinstance(stdin, bytes)
                    else (stdin if stdin is not None else subprocess.DEVNULL)
                ),
                stdout=subprocess.PIPE if stdout is None else stdout,
                stderr=subprocess.PIPE,
                env=_environment(env),
                cwd=cwd,
                start_new_session=True,
            )
            _running.add(self)
        self._threads = [
            threading.Thread(target=self._follow, args=(self._popen.stderr, self._said), daemon=True)
        ]
        if stdout is None:
            self._threads.append(
                threading.Thread(target=self._follow, args=(self._popen.stdout, self._kept), daemon=True)
            )
        if isinstance(stdin, bytes):
            self._threads.append(threading.Thread(target=self._feed, args=(stdin,), daemon=True))
        for thread in self._threads:
            thread.start()

    @property
    def name(self) -> str:
        """The program's name, without where it lies."""
        return Path(self.shown[0]).name

    @property
    def pid(self) -> int:
        """The process id of the program itself."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._popen.poll() is None

    def _follow(self, stream: IO[bytes], kept: list[bytes]) -> None:
        while chunk := os.read(stream.fileno(), 65536):
            kept.append(chunk)
            if self._log is not None:
                with contextlib.suppress(OSError), self._log.open("ab") as log:
                    log.write(chunk)
        stream.close()

    def _feed(self, data: bytes) -> None:
        stream = self._popen.stdin
        assert stream is not None
        with contextlib.suppress(BrokenPipeError):
            stream.write(data)
        with contextlib.suppress(BrokenPipeError):
            stream.close()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status. Raises TimeoutError; the program then still runs."""
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.argv[0]} did not end within {timeout} s") from error
        for thread in self._threads:
            thread.join(timeout=5)
        with _guard:
            _running.discard(self)
        return self._popen.returncode

    def output(self) -> str:
        """Return what the program wrote to standard output so far."""
        return b"".join(self._kept).decode("utf-8", "replace")

    def complaint(self) -> str:
        """Return what the program wrote to standard error so far."""
        return b"".join(self._said).decode("utf-8", "replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)

    def ask_to_end(self) -> None:
        """Tell the program that it is to end, in the way that it can bear."""
        if not self.patience:
            self.signal(signal.SIGTERM)
        elif self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._popen.pid, signal.SIGINT)

    def end(self, grace: float = GRACE_SECONDS) -> None:
        """Ask the program to end; kill its whole process group after `grace` seconds, or when its patience is
        over.
        """
        self.ask_to_end()
        try:
            self.wait(max(grace, self.patience))
            if self.patience:
                self.signal(signal.SIGKILL)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            self.wait()


def run(
    argv: Sequence[str | Path],
    *,
    stdin: IO[bytes] | bytes | None = None,
    stdout: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    accept: Sequence[int] = (0,),
    quiet: bool = False,
    shown: Sequence[str | Path] | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    `accept` lists the exit statuses that are fine; `shown` stands for argv in the log and in errors (without
    wrappers, say). Raises MissingToolError, or CommandError with the argv, how it died and the last lines it
    printed.
    """
    process = Process(argv, stdin=stdin, stdout=stdout, env=env, cwd=cwd, quiet=quiet, shown=shown)
    try:
        status = process.wait(timeout)
    except TimeoutError:
        process.end()
        raise _failed(process, f"did not end within {timeout:.0f} s") from None
    except BaseException:
        process.end()
        raise
    if status not in accept:
        raise _failed(process, describe_end(status))
    return process.output()


def pipe(first: Sequence[str | Path], second: Sequence[str | Path], *, stdout: IO[bytes]) -> None:
    """Run `first | second`. Raises CommandError when either fails."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as source, os.fdopen(write_end, "wb") as sink:
        writer = Process(first, stdout=sink)
        sink.close()
        try:
            reader = Process(second, stdin=source, stdout=stdout)
        except BaseException:
            writer.end()
            raise
        source.close()
        try:
            read = reader.wait()
            wrote = writer.wait()
        finally:
            reader.end()
            writer.end()
    # when the reader fails the writer dies of it
    for process, code in ((reader, read), (writer, wrote)):
        if code:
            raise _failed(process, describe_end(code))


def status(
    argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> tuple[int, str]:
    """Run a program that may fail; return its exit status and standard output followed by standard error."""
    process = Process(argv, env=env, cwd=cwd)
    code = process.wait()
    return code, process.output() + process.complaint()


def run_last(argv: Sequence[str | Path]) -> int:
    """Run a short program of the clean-up, also after `end_all`, and return its exit status; one that hangs
    is killed. Raises OSError.
    """
    try:
        return subprocess.run(
            [require(str(argv[0])), *argv[1:]],
            capture_output=True,
            check=False,
            env=_environment(None),
            stdin=subprocess.DEVNULL,
            timeout=LAST_SECONDS,
        ).returncode
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL


def running() -> list[str]:
    """Return the names of the programs that run now, as `imagebuild` was asked for them."""
    # without the guard: a signal handler asks, and the thread that it interrupted may hold it
    return [process.name for process in list(_running) if process.alive]


def patience() -> float:
    """Return the seconds that an interrupt waits at most for the programs that run now."""
    return max([GRACE_SECONDS, *(process.patience for process in list(_running) if process.alive)])


def describe_end(status: int) -> str:
    """Return how a program ended badly, for a sentence about it."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"failed with exit status {status}"


def _failed(process: Process, how: str) -> CommandError:
    if _ended.is_set():
        how = "was ended by the interrupt"
    text = process.complaint() or process.output()
    tail = "\n".join("    " + line for line in text.strip().splitlines()[-TAIL_LINES:])
    message = f"{describe(process.shown[:12])}{' …' if len(process.shown) > 12 else ''} {how}" + (
        f":\n{tail}" if tail else ""
    )
    return CommandError(
        message, returncode=process._popen.returncode or 0, output=text, log=steplog.current()
    )


@contextlib.contextmanager
def in_background() -> Iterator[None]:
    """Run every program that is started in the block at the lowest priority: it takes what others leave."""
    token = _background.set(("nice", "-n", "19"))
    try:
        yield
    finally:
        _background.reset(token)


@contextlib.contextmanager
def cancelling(action: Callable[[], None]) -> Iterator[None]:
    """Have `action` called too when everything must end: for work that is not a program of ours. The end of
    the block is waited for.
    """
    with _guard:
        _cancel.add(action)
    try:
        yield
    finally:
        with _guard:
            _cancel.discard(action)


def end_all(grace: float = GRACE_SECONDS) -> None:
    """End every program that runs, and refuse new ones: all are asked at once, each is killed after `grace`
    seconds or its own patience.
    """
    _ended.set()
    with _guard:
        running, actions = list(_running), list(_cancel)
    for process in running:
        process.ask_to_end()
    for action in actions:
        with contextlib.suppress(Exception):
            action()
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < max(
        [grace, *(process.patience for process in running if process.alive)]
    ):
        # what is no program of ours has temporary files, too, and removes them when it is cancelled
        if not any(process.alive for process in running) and not (_cancel and passed < grace):
            break
        for process in running:
            if passed >= max(grace, process.patience):
                process.signal(signal.SIGKILL)
        time.sleep(0.05)
    for process in running:
        process.signal(signal.SIGKILL)
