"""What an ESP has that may be started: read by mtools, without mounting it."""

from pathlib import Path, PurePosixPath

from imagebuild.errors import BuildError
from imagebuild.tools import command, temporary

SECONDS = 60.0
LARGEST_LIST = 1000
ENVIRONMENT = {"MTOOLS_SKIP_CHECK": "1"}


def programs_on(image: Path, offset: int) -> dict[str, bytes]:
    """Return path -> content of every UEFI program on the FAT file system at an offset of a file. Raises
    BuildError.
    """
    with temporary.directory("esp") as place:
        # mtools reads more than a path into what -i is given: it gets a plain name, and where in that
        (place / "image").symlink_to(image.absolute())
        device = f"image@@{offset}"
        said = command.run(
            ["mdir", "-/", "-b", "-a", "-i", device, "::"],
            env=ENVIRONMENT, cwd=place, quiet=True, timeout=SECONDS,
        )  # fmt: skip
        paths = [
            path
            for line in said.splitlines()
            if (path := line.removeprefix("::/")) != line and PurePosixPath(path).suffix.lower() == ".efi"
        ]
        if len(paths) > LARGEST_LIST:
            raise BuildError(f"the ESP has {len(paths)} programs", hint="where did you get that image?")
        found = dict[str, bytes]()
        for path in paths:
            target = place / "program"
            target.unlink(missing_ok=True)
            command.run(
                ["mcopy", "-n", "-i", device, f"::/{path}", target],
                env=ENVIRONMENT, cwd=place, quiet=True, timeout=SECONDS,
            )  # fmt: skip
            found[path] = target.read_bytes()
    return found
