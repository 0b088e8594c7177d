"""Object stores that fsspec has a driver for: s3://, and others."""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from imagebuild.destinations.destination import Scheme
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.tools import temporary
from imagebuild.tools.checksum import CHUNK, HashedFile, check_name

# botocore 1.3x, handlers.py, VALID_BUCKET
BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")
# objects on their way at the same time
PARALLEL = 8
HINT = "check the bucket and the credentials; for s3:// also AWS_ENDPOINT_URL"


class Bucket:
    """An object store, through fsspec: an object appears whole or not at all."""

    def __init__(self, system: Any, base: str, scheme: str = "s3") -> None:
        self.system = system
        self.base = base
        self.address = f"{scheme}://{base}"

    def upload(self, directory: Path, name: str, entries: Mapping[str, HashedFile]) -> int:
        """Send each object that is not there, and read everything back; several at a time (it is waiting,
        mostly), the signed lists last.
        """
        lists = [path for path in entries if path.endswith("-CHECKSUM")]
        others = [path for path in entries if path not in lists]

        def send(path: str) -> int:
            return self._send(directory / path, self._key(f"{name}/{path}"), entries[path])

        with _said(self.address), ThreadPoolExecutor(PARALLEL) as pool:
            self.system.invalidate_cache()
            return sum([*pool.map(send, others), *map(send, lists)])

    def _send(self, file: Path, key: str, entry: HashedFile) -> int:
        if self._matches(key, entry):
            return 0
        self.system.put_file(str(file), key)
        if not self._matches(key, entry):
            name = key.removeprefix(self.base)
            raise BuildError(f"{self.address}{name} is not what was sent", hint="run the same command again")
        return 1

    def write(self, name: str, data: bytes) -> None:
        """Replace an object."""
        # drivers tell what a browser is to do with a file by the name of one that is sent
        with _said(self.address), temporary.directory("object") as work:
            file = work / name.rpartition("/")[2]
            file.write_bytes(data)
            self.system.put_file(str(file), self._key(name))

    def read(self, name: str) -> bytes | None:
        """Return an object."""
        with _said(self.address):
            try:
                return bytes(self.system.cat_file(self._key(name)))
            except FileNotFoundError:
                return None

    def _key(self, name: str) -> str:
        check_name(name)
        return f"{self.base}/{name}"

    def _matches(self, key: str, entry: HashedFile) -> bool:
        try:
            size = self.system.info(key, refresh=True)["size"]
        except FileNotFoundError:
            return False
        if size != entry.size:
            return False
        digest = hashlib.sha256()
        with self.system.open(key, "rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest() == entry.sha256


@contextlib.contextmanager
def _said(address: str) -> Iterator[None]:
    """Turn what storage libraries raise into a sentence."""
    try:
        yield
    except BuildError:
        raise
    except Exception as error:  # botocore, aiohttp and fsspec have no kind in common
        raise BuildError(f"{address}: {error}", hint=HINT) from error


def open_bucket(url: str) -> Bucket:
    """Return the destination of SCHEME://BUCKET/PATH. Raises MissingToolError: there is no driver."""
    # fsspec looks for drivers, which only whoever publishes needs
    import fsspec  # noqa: PLC0415

    parts = urlsplit(url)
    address = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
    try:
        with _said(address):
            system = fsspec.filesystem(parts.scheme)
    except BuildError as error:
        if isinstance(error.__cause__, ImportError):
            raise _missing(parts.scheme, error.__cause__) from error
        raise
    return Bucket(system, f"{parts.netloc}{parts.path}".rstrip("/"), parts.scheme)


def _missing(scheme: str, error: ImportError) -> MissingToolError:
    package = DRIVERS[scheme]
    extra = f"pip install 'imagebuild[{scheme}]'" if scheme == "s3" else f"pip install {package}"
    return MissingToolError(f"{scheme}:// needs the Python package {package}: {error}", hint=extra)


def object_store(name: str, *, documented: bool = False) -> Scheme:
    """Return the record of a scheme that fsspec has a driver for."""
    return Scheme(
        name=name,
        form=f"{name}://BUCKET/PATH",
        accepts=lambda parts: BUCKET.fullmatch(parts.netloc) is not None,
        open=open_bucket,
        documented=documented,
    )


# scheme -> the package that has its driver (fsspec.registry, known_implementations)
DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "oss": "ossfs", "oci": "ocifs", "memory": "fsspec"}
# what is in memory is gone with the program: for tests
STORES = tuple(object_store(name, documented=name == "s3") for name in DRIVERS)
