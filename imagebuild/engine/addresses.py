"""Addresses of remotes, and what they lead to."""

from typing import Any
from urllib.parse import urlsplit

from imagebuild import files
from imagebuild.engine.drives import Drive
from imagebuild.engine.mounted_drive import MountedDrive
from imagebuild.engine.object_drive import ObjectDrive
from imagebuild.errors import MissingToolError, UsageError

# scheme -> the Python package with its driver (fsspec.registry, known_implementations); memory is for tests
DRIVERS = {"s3": "s3fs", "memory": "fsspec"}
FORMS = "give file:///DIRECTORY (mounted on every machine), or s3://BUCKET/PATH"
# seconds; each attempt is one request: Remote counts them, not botocore (botocore.config.Config)
TIMEOUTS = {"connect_timeout": 10, "read_timeout": 60}


def open_drive(url: str) -> Drive:
    """Return the drive of a remote's address. Raises UsageError for what is none, MissingToolError when its
    driver is not installed.
    """
    scheme, place = parts_of(url)
    if scheme == "file":
        directory = files.path_of(url)
        if not directory.is_dir():
            raise UsageError(
                f"the remote store {url} is not there: there is no directory {directory}",
                hint="mount it, or make it once: it is not made here, lest an empty directory below which"
                " nothing is mounted be taken for it",
            )
        try:
            return MountedDrive(directory)
        except OSError as error:
            raise UsageError(
                f"the remote store {url} cannot be written to: {error.strerror}",
                hint="check its owner, and how it is mounted",
            ) from error
    # fsspec looks for drivers, which only whoever has a remote needs
    import fsspec  # noqa: PLC0415  dear, and only for a store with a remote

    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme == "s3":
        retries = {"mode": "standard", "total_max_attempts": 1}
        # of a large file so many parts of 50 MB are in memory (s3fs, core.py, _upload_file_part_concurrent)
        options |= {"config_kwargs": {**TIMEOUTS, "retries": retries}, "max_concurrency": 2}
    try:
        system = fsspec.filesystem(scheme, **options)
    except ImportError as error:
        package = DRIVERS[scheme]
        raise MissingToolError(
            f"{scheme}:// needs the Python package {package}: {error}",
            hint=f"pip install 'imagebuild[{scheme}]'",
        ) from error
    if scheme == "s3":
        system.retries = 1
    return ObjectDrive(system, place)


def parts_of(url: str) -> tuple[str, str]:
    """Return scheme and place of a remote's address. Raises UsageError for what is none."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{url!r} is not the address of a remote store: {error}", hint=FORMS) from error
    file = parts.scheme == "file" and not parts.netloc and parts.path.startswith("/")
    bucket = parts.scheme in DRIVERS and bool(parts.netloc) and not set(url) & set("?#@")
    if not (file or bucket):
        raise UsageError(f"{url!r} is not the address of a remote store", hint=FORMS)
    return parts.scheme, f"{parts.netloc}{parts.path}".rstrip("/")
