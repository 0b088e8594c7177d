"""Objects of a server that stand for more than there is of them."""

import resource
import zlib

from imagebuild.tools.ostree import server_damage


def problem_of(deflated: bytes) -> str | None:
    """Return what is wrong with a file of no header."""
    return server_damage._problem_of_file(iter([bytes(8) + deflated]))


def test_what_is_deflated_is_not_kept() -> None:
    """200 MiB of zeros in a fifth of a MiB: it is looked at piece by piece."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(200)) + deflater.flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert problem_of(data) is None
    assert problem_of(data[:-9]) == "cut short"
    assert problem_of(b"\xff" * 9) == "damaged"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_a_commit_that_is_not_serialised_as_it_should_be_names_nothing() -> None:
    assert server_damage._children(4, b"\xff" * 200) == []
    assert server_damage._children(2, b"\xff" * 200) == []
