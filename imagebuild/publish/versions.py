"""Versions of packages, compared as their package managers compare them."""

from collections.abc import Callable, Mapping

from debian.debian_support import version_compare
from rpm_vercmp import vercmp


def compare_rpm(left: str, right: str) -> int:
    """Compare [EPOCH:]VERSION-RELEASE as rpm does: below 0 when `left` is older."""
    for mine, theirs in zip(_evr(left), _evr(right), strict=True):
        order = int(vercmp(mine, theirs))
        if order:
            return order
    return 0


def _evr(text: str) -> tuple[str, str, str]:
    epoch, colon, rest = text.partition(":")
    if not colon:
        epoch, rest = "0", text
    version, _, release = rest.rpartition("-")
    return epoch, version or rest, release if version else ""


def compare_dpkg(left: str, right: str) -> int:
    """Compare versions as dpkg does: below 0 when `left` is older. What deb-version(7) does not take for a
    version is compared as text.
    """
    try:
        return int(version_compare(left, right))
    except ValueError:
        return (left > right) - (left < right)


COMPARE: Mapping[str, Callable[[str, str], int]] = {"rpm": compare_rpm, "dpkg": compare_dpkg}
