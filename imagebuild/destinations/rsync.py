"""An rsync daemon, or ssh: rsync://, ssh://."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, urlsplit

from imagebuild.destinations.destination import Scheme
from imagebuild.errors import BuildError
from imagebuild.tools import command, environment, temporary
from imagebuild.tools.checksum import HashedFile, check_name

# what reaches rsync(1) and, through it, ssh(1) as an argument: no options, no spaces, no shell
SERVER = re.compile(r"([A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*(:\d+)?")
REMOTE_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")
# rsync(1), exit codes: some files were not transferred; which it may be one does not tell from the code
PARTLY, ABSENT = 23, "No such file or directory"


class Rsync:
    """An rsync daemon, or ssh: rsync(1) writes beside a file and renames it."""

    def __init__(self, place: str, *, port: int | None = None) -> None:
        self.place = self.address = place
        # rsync(1), -e: the words of the remote shell's command, at spaces
        self._rsync = ["rsync", "-e", f"ssh -p {port}"] if port is not None else ["rsync"]

    def upload(self, directory: Path, name: str, entries: Mapping[str, HashedFile]) -> int:
        """Send what differs, then have rsync compare the content of everything."""
        check_name(name)
        sent = self._sync(directory, name, entries, dry=False)
        left = self._sync(directory, name, entries, dry=True)
        if left:
            raise BuildError(
                f"{self.place}/{name}: {left} files are not what was sent", hint="run the same command again"
            )
        return sent

    def _sync(self, directory: Path, name: str, entries: Mapping[str, HashedFile], *, dry: bool) -> int:
        self._make(name)
        with temporary.file("files") as listing:
            listing.write_text("".join(f"{path}\n" for path in entries))
            how = ["--dry-run"] if dry else ["--partial-dir=.rsync-partial"]
            what = [f"--files-from={listing}", f"{directory}/", f"{self.place}/{name}/"]
            argv = [
                *self._rsync,
                "--recursive",
                "--relative",
                "--checksum",
                "--chmod=D755,F644",
                "--out-format=%n",
                *how,
                *what,
            ]
            said = command.run(argv, env=environment.outward())
        return len([line for line in said.splitlines() if line and not line.endswith("/")])

    def _make(self, name: str) -> None:
        """Make a directory over there: an empty tree is sent."""
        with temporary.directory("empty") as empty:
            (empty / name).mkdir(parents=True)
            command.run(
                [
                    *self._rsync,
                    "--recursive",
                    "--relative",
                    "--mkpath",
                    "--chmod=D755",
                    f"{empty}/./{name}",
                    f"{self.place}/",
                ],
                env=environment.outward(),
            )

    def write(self, name: str, data: bytes) -> None:
        """Replace a file."""
        check_name(name)
        with temporary.directory("file") as work:
            file = work / PurePosixPath(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            command.run(
                [
                    *self._rsync,
                    "--relative",
                    "--checksum",
                    "--mkpath",
                    "--chmod=D755,F644",
                    f"{work}/./{name}",
                    f"{self.place}/",
                ],
                env=environment.outward(),
            )

    def read(self, name: str) -> bytes | None:
        """Return a file."""
        check_name(name)
        with temporary.directory("file") as work:
            target = work / "file"
            argv = [*self._rsync, f"{self.place}/{name}", str(target)]
            code, said = command.status(argv, env=environment.outward())
            if code == PARTLY and ABSENT in said and not target.exists():
                return None
            if code != 0 or not target.is_file():
                raise BuildError(
                    f"{self.place}/{name} cannot be read: {said.strip()}",
                    hint="check the address, and who may read there",
                )
            return target.read_bytes()


def accepts(parts: SplitResult) -> bool:
    """Whether rsync(1) can be given an address."""
    return SERVER.fullmatch(parts.netloc) is not None and REMOTE_PATH.fullmatch(parts.path) is not None


def open_daemon(url: str) -> Rsync:
    """Return the destination of rsync://HOST/MODULE/PATH."""
    parts = urlsplit(url)
    return Rsync(f"rsync://{parts.netloc}{parts.path}".rstrip("/"))


def open_ssh(url: str) -> Rsync:
    """Return the destination of ssh://HOST/PATH."""
    parts = urlsplit(url)
    server = parts.netloc.removesuffix(f":{parts.port}")
    return Rsync(f"{server}:{parts.path}".rstrip("/"), port=parts.port)


RSYNC = Scheme(
    name="rsync", form="rsync://HOST/MODULE/PATH", accepts=accepts, open=open_daemon, tools=("rsync",)
)
SSH = Scheme(name="ssh", form="ssh://HOST/PATH", accepts=accepts, open=open_ssh, tools=("rsync", "ssh"))
