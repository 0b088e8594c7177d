"""Whether trees of a release line have a signed boot loader: what this machine can tell before a build."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from imagebuild.architectures.registry import loader_of
from imagebuild.deploy.commit_files import CommitFiles
from imagebuild.deploy.signed_loader import HINT, has_parts
from imagebuild.errors import BuildError
from imagebuild.release_line.model import Config
from imagebuild.tools.ostree.repository import Repo


def look(config: Config) -> Iterator[tuple[str, str, str]]:
    """Yield (ref, what is found, what to do about it) of each ref in a repository of this machine; of others
    nothing is known before they are pulled.
    """
    address = urlsplit(config.tree.url)
    place = Path(unquote(address.path))
    if address.scheme != "file" or not (place / "config").is_file():
        return
    refs = Repo(place).refs()
    for ref in config.refs:
        if ref in refs:
            try:
                missing = has_parts(CommitFiles(place, refs[ref]).listing, loader_of(config.arch))
            except BuildError as error:
                missing = error.message
            yield (
                ref,
                f"not for Secure Boot: {missing}" if missing else "it has a signed shim and GRUB",
                HINT if missing else "",
            )
