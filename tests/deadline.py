"""Lines of a program under test, with a deadline: one that says nothing fails its test, and does not stop all
that follow.
"""

import select
from typing import IO

SECONDS = 60.0


def read_line(stream: IO[str], seconds: float = SECONDS) -> str:
    """Return the first line that a program writes into a pipe from which nothing was read before."""
    assert select.select([stream], [], [], seconds)[0], f"nothing was said within {seconds:.0f} s"
    return stream.readline()
