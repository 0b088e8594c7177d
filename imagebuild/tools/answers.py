"""What a web server answers, read with limits: one that drips, stalls or is cut off is an error.

A time-out of requests is one of a single recv(2): who gets a byte each second would wait for ever. So blocks
are what one recv gives (urllib3, HTTPResponse.read1), and the clock is looked at after each.
"""

import email.utils
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
import urllib3

BLOCK = 1 << 20
# what browsers and curl allow is 20 and 50: a mirror list takes one or two
MOST_REDIRECTS = 10


class TooSlowError(requests.Timeout):
    """An answer came too slowly, or for too long."""


class RedirectError(requests.RequestException):
    """A server sends us where we may not go."""


class GuardedSession(requests.Session):
    """A session that follows a few redirects, and none from https to anything else: what was to be read from
    a server that proved its name would come from one that did not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.max_redirects = MOST_REDIRECTS
        # what is read is the file, not how a server packs it; libostree asks for no packing, either
        self.headers["Accept-Encoding"] = "identity"

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where an answer leads. Raises RedirectError for a place we do not go to."""
        target = super().get_redirect_target(resp)
        scheme = urlsplit(target).scheme.lower() if target else ""
        if scheme and scheme != "https" and (scheme != "http" or str(resp.url).startswith("https:")):
            resp.close()
            raise RedirectError(f"the server redirects to {scheme}:, which is not followed")
        return target


def blocks(answer: requests.Response, *, slowest: float, seconds: float) -> Iterator[bytes]:
    """Yield an answer's body as it comes, not unpacked. `slowest`: bytes per second that are to come in every
    period of `seconds`; 0: anything. Raises requests.RequestException: too slow, cut off.
    """
    begun, come = time.monotonic(), 0
    try:
        while block := answer.raw.read1(BLOCK, decode_content=False):
            yield block
            come += len(block)
            now = time.monotonic()
            if now - begun >= seconds:
                if come < slowest * (now - begun):
                    raise TooSlowError(f"fewer than {slowest:.0f} bytes/s for {seconds:.0f} s")
                begun, come = now, 0
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from error


def retry_after(answer: requests.Response, most: float) -> float:
    """Return how many seconds a server asks us to wait (RFC 9110, section 10.2.3), `most` at most; 0 where
    it does not say.
    """
    said = answer.headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        # nobody means a number of many digits, and int() refuses thousands of them
        return min(float(said[:9]), most)
    try:
        wanted = email.utils.parsedate_to_datetime(said).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(wanted, 0.0), most)
