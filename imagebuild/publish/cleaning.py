"""What is published of a build machine: nothing. Its name, addresses, users and directories are taken out of
the evidence, which strangers read; the store keeps it as it was.
"""

import functools
import getpass
import ipaddress
import os
import re
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuild.config.places import cache_directory

# a store's directories, on whatever machine of a cluster (engine/directory.py, engine/shared.py): a kind of
# step, and the key
STORED = re.compile(rb"(?:artifacts|scratch|failed)/[a-z_]+\.[a-z_]+[-/][0-9a-f]{32}")
# what a path ends at in a text, and the longest path (PATH_MAX of linux/limits.h)
ENDS, LONGEST = re.compile(rb"[\s'\"=:,;()<>\\\0]"), 4096
# what every machine has; shorter words are in everybody's texts
COMMON_PLACES = frozenset(("/", "/root", "/tmp", "/var/tmp", "/usr", "/usr/local", "/home", "/opt", "/srv"))
COMMON_NAMES = frozenset((
    "root", "localhost", "debian", "fedora", "builder", "build", "host", "nobody", "user", "test", "linux",
))  # fmt: skip
SHORTEST = 4
# QEMU's user network (docs/system/devices/net.rst, "Using the user mode network stack"): the guest's side
GUESTS = ipaddress.ip_network("10.0.2.0/24")
# their bytes are not text
PICTURES = frozenset((".png",))


@dataclass(frozen=True, kw_only=True)
class Cleaner:
    """Takes words out of texts: paths up to a whole component, names and addresses as whole words."""

    places: Mapping[str, str]
    words: Mapping[str, str]

    def clean(self, data: bytes) -> bytes:
        """Return a text without them."""
        data = _without_stores(data)
        for found, (pattern, said) in self._patterns.items():
            if found in data:
                data = pattern.sub(said, data)
        return data

    def text(self, text: str) -> str:
        """Return a text without them."""
        return self.clean(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def file(self, source: Path) -> bytes | None:
        """Return what a file is to hold; None when it may stay as it is."""
        if source.suffix in PICTURES:
            return None
        data = source.read_bytes()
        cleaned = self.clean(data)
        return cleaned if cleaned != data else None

    @functools.cached_property
    def _patterns(self) -> dict[bytes, tuple[re.Pattern[bytes], bytes]]:
        found = {}
        # what lies in another of them comes first
        for place, said in sorted(self.places.items(), key=lambda one: len(one[0]), reverse=True):
            pattern = re.escape(place.encode()) + rb"(?![A-Za-z0-9._-])"
            found[place.encode()] = (re.compile(pattern), said.encode())
        for word, said in sorted(self.words.items(), key=lambda one: len(one[0]), reverse=True):
            pattern = rb"(?<![A-Za-z0-9_.-])" + re.escape(word.encode()) + rb"(?![A-Za-z0-9_-])"
            found[word.encode()] = (re.compile(pattern), said.encode())
        return found


def _without_stores(data: bytes) -> bytes:
    """Take out where any store lies."""
    kept, end = list[bytes](), 0
    for match in STORED.finditer(data):
        before = data[max(end, match.start() - LONGEST) : match.start()]
        place = ENDS.split(before)[-1]
        if place.startswith(b"/"):
            kept += [data[end : match.start() - len(place)], b"(store)/"]
            end = match.start()
    return b"".join((*kept, data[end:]))


def builder(store: Path, output: Path) -> Cleaner:
    """Return what cleans texts of this machine."""
    places = {
        os.environ.get("TMPDIR", "/tmp"): "(temporary)",
        str(Path.home()): "(home)",
        str(Path.cwd()): "(directory)",
        sys.prefix: "(python)",
        str(cache_directory().absolute()): "(cache)",
        str(output.absolute()): "(output)",
        str(store.absolute()): "(store)",
    }
    names = {socket.gethostname(): "(builder)", socket.gethostname().partition(".")[0]: "(builder)"}
    with_user = {**names, _user(): "(user)"}
    return Cleaner(
        places={place: said for place, said in places.items() if place.rstrip("/") not in COMMON_PLACES},
        words={word: said for word, said in with_user.items() if _telling(word)}
        | dict.fromkeys(_addresses(), "(address)"),
    )


def _telling(word: str) -> bool:
    return len(word) >= SHORTEST and word.lower() not in COMMON_NAMES


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _addresses() -> list[str]:
    """Return the addresses of this machine that are its own: neither loopback's nor a link's."""
    return [
        str(address)
        for address in sorted(_configured(), key=str)
        if not (address.is_loopback or address.is_link_local or address.is_unspecified or address in GUESTS)
    ]


def _configured() -> Iterable[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return what the kernel lists: of IPv4 the local ones of fib_trie, of IPv6 if_inet6 (proc(5))."""
    trie, six = Path("/proc/net/fib_trie"), Path("/proc/net/if_inet6")
    found: set[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()
    if os.access(trie, os.R_OK):
        listed = re.findall(r"\|-- (\d+(?:\.\d+){3})\n\s+/32 host LOCAL", trie.read_text())
        found |= {ipaddress.IPv4Address(address) for address in listed}
    if os.access(six, os.R_OK):
        found |= {ipaddress.IPv6Address(bytes.fromhex(line[:32])) for line in six.read_text().splitlines()}
    return found
