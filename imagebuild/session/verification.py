"""A release is verified, by whoever has its public key."""

from collections.abc import Sequence
from pathlib import Path

from imagebuild.config.places import cache_directory
from imagebuild.destinations.source import open_source
from imagebuild.publish import findings
from imagebuild.publish import verify as verifying
from imagebuild.publish.findings import Verification
from imagebuild.publish.verify import Trust


def verify(
    place: str, keys: Sequence[Path], commit_keys: Sequence[Path] | None = None, *, open_images: bool = True
) -> Verification:
    """Verify the release in a directory, or at an address (http, https), by its public keys.

    `commit_keys` are those that sign commits; None: the same. Raises UsageError: a key cannot be read.
    """
    trust = Trust(
        keys=tuple(keys),
        commit_keys=tuple(commit_keys or keys),
        open_images=open_images,
        cache=cache_directory(),
    )
    return verifying.verify(open_source(place), trust)


def describe(verification: Verification) -> list[str]:
    """Return what was found as lines for people."""
    return list(findings.describe(verification))
