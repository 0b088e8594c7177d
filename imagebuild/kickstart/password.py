"""Passwords hashed by the host's crypt(3), with a salt that follows from the build: a second build gives the
same file.
"""

import base64
import ctypes
import ctypes.util
import hashlib

from imagebuild.errors import MissingToolError


def hashed(secret: str, salt: str) -> str:
    """Return the SHA-512 crypt(5) hash of a password. `salt` is any text; 16 characters are made of it.
    Raises MissingToolError.
    """
    name = ctypes.util.find_library("crypt")
    if name is None:
        raise MissingToolError(
            "the library libcrypt is not installed",
            hint="apt-get install libcrypt1, or dnf install libxcrypt",
        )
    crypt = ctypes.CDLL(name).crypt
    crypt.restype = ctypes.c_char_p
    letters = base64.b64encode(hashlib.sha256(salt.encode()).digest(), altchars=b"./").decode()[:16]
    found: bytes | None = crypt(secret.encode(), f"$6${letters}".encode())
    if not found or not found.startswith(b"$6$"):
        raise MissingToolError(
            "this machine's crypt(3) has no SHA-512", hint="put a hash into the kickstart: --iscrypted"
        )
    return found.decode()
