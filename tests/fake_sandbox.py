"""A place to run programs in that only remembers what it was told to run, read and write."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from imagebuild.deploy.target import Argv, File
from imagebuild.errors import BuildError


@dataclass
class FakeSandbox:
    """A place to run programs in that only remembers: `answers` are files that can be read, a script with
    `fails` in it fails.
    """

    answers: dict[str, bytes] = field(default_factory=dict)
    fails: str = ""
    commands: list[tuple[str, ...]] = field(default_factory=list)
    ran: list[tuple[str, ...]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    files: dict[PurePosixPath, File] = field(default_factory=dict)

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        self.commands += [tuple(str(word) for word in argv) for argv in commands]
        return ""

    def run_script(self, argv: Argv, script: str, *, root: PurePosixPath | None = None) -> None:
        self.ran.append(tuple(str(word) for word in argv))
        self.scripts.append(script)
        if self.fails and self.fails in (script, *self.ran[-1]):
            raise BuildError("it failed")

    def write(self, files: Mapping[PurePosixPath, File]) -> None:
        self.files.update(files)

    def read(self, path: PurePosixPath) -> bytes:
        if str(path) not in self.answers:
            raise BuildError(f"no {path}")
        return self.answers[str(path)]
