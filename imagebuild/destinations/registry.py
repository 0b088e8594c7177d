"""Every kind of destination: a new one is a module and a line here."""

from urllib.parse import SplitResult, urlsplit

from imagebuild.destinations import bucket, local, rsync
from imagebuild.destinations.destination import Destination, Scheme
from imagebuild.errors import UsageError
from imagebuild.records import Registry

DESTINATIONS: Registry[Scheme] = Registry("destination", local.FILE, *bucket.STORES, rsync.RSYNC, rsync.SSH)


def open_destination(url: str) -> Destination:
    """Return the destination of an address. Raises UsageError for what is not one, BuildError when its driver
    does not work.
    """
    scheme = _scheme_of(url)
    if scheme is None:
        raise UsageError(f"{url!r} is not a destination", hint=forms())
    return scheme.open(url)


def reason_not_a_destination(url: str) -> str | None:
    """Return why releases cannot be put at an address, or None."""
    return None if _scheme_of(url) is not None else f"is not a destination: {forms()}"


def forms() -> str:
    """Return how addresses look, for people."""
    *others, last = (scheme.form for scheme in DESTINATIONS.values() if scheme.documented)
    return f"{', '.join(others)} or {last}"


def _scheme_of(url: str) -> Scheme | None:
    parts = _parts_of(url)
    if parts is None or parts.scheme not in DESTINATIONS:
        return None
    # they would be left out: what is promoted would lie elsewhere
    if parts.scheme != "file" and set(url) & set("?#"):
        return None
    scheme = DESTINATIONS[parts.scheme]
    return scheme if scheme.accepts(parts) else None


def _parts_of(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for what is not a number
    except ValueError:
        return None
    return parts
