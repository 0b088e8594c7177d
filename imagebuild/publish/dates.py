"""Times of releases, as pages and metadata write them (UTC)."""

from datetime import UTC, datetime


def day(seconds: int) -> str:
    """Return the day of a time in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def stamp(seconds: int) -> str:
    """Return a time in seconds since 1970 as ISO 8601 has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
