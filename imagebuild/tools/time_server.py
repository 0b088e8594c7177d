"""A time server for one network of guests: it answers NTP's clients with the time of this machine, and does
nothing else.

RFC 5905, 7.3: 48 bytes (leap indicator, version and mode; stratum; poll; precision; root delay and
dispersion; reference id; four timestamps: when the clock was set, and when the request was sent, received and
answered). Run as a program, `ADDRESS PORT`, until it is killed.
"""

import socket
import struct
import sys
import time

PACKET = struct.Struct(">BBbbII4sQ8sQQ")
CLIENT, SERVER = 3, 4
VERSIONS = range(1, 5)
# seconds from 1900 to 1970: RFC 5905, figure 4
EPOCH = 2_208_988_800
# a clock that nobody set: "LOCL" (RFC 5905, figure 12), of a stratum that clients take
STRATUM, REFERENCE = 3, b"LOCL"
# a microsecond, as a power of two; what a client sends besides the 48 bytes (extensions) is not read
PRECISION, LARGEST = -20, 1024


def timestamp(seconds: float) -> int:
    """Return a time (seconds since 1970) in NTP's format: seconds since 1900, in units of 2^-32."""
    return int((seconds + EPOCH) * (1 << 32)) & ((1 << 64) - 1)


def answer(request: bytes, received: float, now: float) -> bytes | None:
    """Return the answer to a client's packet; None for anything else, which gets none."""
    if len(request) < PACKET.size:
        return None
    first, _, poll, *_, sent = PACKET.unpack_from(request)
    version, mode = first >> 3 & 7, first & 7
    if mode != CLIENT or version not in VERSIONS:
        return None
    return PACKET.pack(
        version << 3 | SERVER, STRATUM, poll, PRECISION, 0, 0, REFERENCE,
        timestamp(now - 1), struct.pack(">Q", sent), timestamp(received), timestamp(now),
    )  # fmt: skip


def serve(address: str, port: int) -> None:
    """Answer for ever. Raises OSError when the port cannot be had."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, port))
        while True:
            request, client = server.recvfrom(LARGEST)
            reply = answer(request, time.time(), time.time())
            if reply is not None:
                server.sendto(reply, client)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
