"""How the server of the commits is reached: its authority, our client certificate, a proxy; for requests and
libostree alike.

Remote options of libostree: ostree.repo-config(5), "[remote] Section Options"; what libcurl does with them:
ostree-fetcher-curl.c of 2022.7.
"""

import contextlib
import os
import re
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import requests

from imagebuild.config.tree import TlsConfig, TreeConfig
from imagebuild.errors import BuildError
from imagebuild.tools.answers import GuardedSession

CERTIFICATE = re.compile(rb"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----")
PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----")
# what libcurl asks the environment besides its own settings (libcurl-env(3)): these would lead around a
# configured proxy
AROUND_THE_PROXY = ("no_proxy", "NO_PROXY")
# words of OpenSSL (through requests) and numbers of libcurl (libcurl-errors(3), as libostree writes them:
# "[60] …")
SERVER_NOT_TRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|\[(60|77|83)\] ")
OTHER_NAME = re.compile(r"[Mm]ismatch, certificate is not valid|doesn't match")
OUT_OF_DATE = re.compile(r"has expired|not yet valid")
CLIENT_NOT_TRUSTED = re.compile(r"\balert\b|ALERT|\[(35|58)\] ")
CUT_OFF = re.compile(r"EOF occurred|Connection (reset|aborted)|\[(52|55|56)\] ")
PROXY_FAILED = re.compile(r"[Pp]roxy|\[(5|7|97)\] ")


@dataclass(frozen=True, kw_only=True)
class Access:
    """Files (PEM) and a proxy (`http://HOST:PORT`); what is None or empty is as the system has it.

    `ca` replaces the system's authorities. The private key may be in the certificate's file: then `key` is
    that file.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    proxy: str = ""

    def check(self) -> None:
        """Raise BuildError for a file that is missing or cannot be read, holds something else, or a key of
        another certificate.
        """
        if self.ca is not None:
            _check_content(self.ca, "tree.tls.ca", CERTIFICATE, "certificate of an authority")
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self.ca)
            except (ssl.SSLError, OSError) as error:
                raise _unusable(self.ca, "tree.tls.ca", error) from error
        if self.certificate is not None:
            _check_content(self.certificate, "tree.tls.certificate", CERTIFICATE, "certificate")
            _check_content(self._key, "tree.tls.key", PRIVATE_KEY, "private key")
            _check_pair(self.certificate, self._key)

    @property
    def _key(self) -> Path:
        assert self.certificate is not None
        return self.key or self.certificate

    def options(self) -> dict[str, str]:
        """Return the options of a libostree remote."""
        options = {"tls-ca-path": str(self.ca.absolute())} if self.ca is not None else {}
        if self.certificate is not None:
            options |= {
                "tls-client-cert-path": str(self.certificate.absolute()),
                "tls-client-key-path": str(self._key.absolute()),
            }
        return options | ({"proxy": self.proxy} if self.proxy else {})

    @contextlib.contextmanager
    def get(self, url: str, *, seconds: float) -> Iterator[requests.Response]:
        """Ask for a URL; yield the answer, whose content is not read yet. Raises requests' own errors."""
        # given with the request: what a session has the environment replaces (requests,
        # Session.merge_environment_settings)
        proxies = {"http": self.proxy, "https": self.proxy} if self.proxy else {}
        verify = str(self.ca) if self.ca is not None else True
        certificate = (str(self.certificate), str(self._key)) if self.certificate is not None else None
        with (
            GuardedSession() as session,
            session.get(
                url, timeout=(10, seconds), stream=True, verify=verify, cert=certificate, proxies=proxies
            ) as answer,
        ):
            yield answer

    def blame(self, url: str, problem: str) -> str | None:
        """Return what to look at after an error of requests or libostree about TLS or the proxy; None when it
        was about neither.
        """
        if self.proxy and PROXY_FAILED.search(problem):
            return f"check tree.proxy ({self.proxy})"
        return self.blame_tls(url, problem) or self._blame_end(url, problem)

    def _blame_end(self, url: str, problem: str) -> str | None:
        # TLS 1.3: a server that does not know the client may hang up before it has said so, and so may a
        # network
        return (
            f"check the network; {self.blame_client()}"
            if url.startswith("https:") and CUT_OFF.search(problem)
            else None
        )

    def blame_tls(self, url: str, problem: str) -> str | None:
        """Return which file to look at after an error about TLS, which another attempt would meet again; None
        when it was not about TLS.
        """
        if not url.startswith("https:"):
            return None
        if SERVER_NOT_TRUSTED.search(problem):
            return self._blame_server(problem)
        return self.blame_client() if CLIENT_NOT_TRUSTED.search(problem) else None

    def blame_client(self) -> str:
        """Return what to look at when a server lets nobody in but whom it knows."""
        if self.certificate is None:
            return "the server may want a client certificate: tree.tls.certificate and tree.tls.key"
        return (
            f"the server may not take the client certificate: check tree.tls.certificate ({self.certificate})"
            " and its last day"
        )

    def _blame_server(self, problem: str) -> str:
        if OTHER_NAME.search(problem):
            return "the server's certificate is for another name: check tree.url"
        if OUT_OF_DATE.search(problem):
            return "a certificate is not valid today: check the clock" + (
                f" and tree.tls.ca ({self.ca})" if self.ca is not None else ""
            )
        if self.ca is None:
            return (
                "no authority that this machine knows has signed the server's certificate: name the file of"
                " that authority with tree.tls.ca"
            )
        return (
            f"the server's certificate is not signed by an authority of tree.tls.ca ({self.ca}): check that"
            " file"
        )


DIRECT = Access()


def access_to(tree: TreeConfig) -> Access:
    """Return how the server of a configuration is reached."""
    tls = tree.tls or TlsConfig.model_construct()
    ca, certificate, key = (
        Path(name) if name is not None else None for name in (tls.ca, tls.certificate, tls.key)
    )
    return Access(ca=ca, certificate=certificate, key=key, proxy=tree.proxy or "")


def _check_content(file: Path, key: str, wanted: re.Pattern[bytes], what: str) -> None:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BuildError(
            f"{key}: {file} cannot be read: {error.strerror}",
            hint=f"correct {key}, or the file's owner and mode",
        ) from error
    if wanted.search(content) is None:
        raise BuildError(
            f"{key}: {file} does not hold a {what} in PEM",
            hint="`openssl x509` and `openssl pkey` convert other formats",
        )


def _check_pair(certificate: Path, key: Path) -> None:
    def refuse() -> NoReturn:
        raise BuildError(
            f"tree.tls.key: {key} is encrypted, and nobody can be asked for its passphrase",
            hint=f"`openssl pkey -in {key} -out FILE` writes it without; protect that file by its mode",
        )

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BuildError(
                f"tree.tls.key: {key} is not the key of the certificate {certificate}",
                hint="they are made together: name both of one pair",
            ) from error
        raise _unusable(
            certificate if certificate == key else f"{certificate} or {key}", "tree.tls", error
        ) from error


def _unusable(file: object, key: str, error: Exception) -> BuildError:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "damaged"
    return BuildError(
        f"{key}: {file} cannot be used: {reason}",
        hint="`openssl x509 -in FILE -noout -text` shows what a certificate is",
    )


# --- the environment ----------------------------------------------------------------------------------------


class _Environment:
    """What was taken out of the process's environment, until the last one that wants it so has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._hidden: dict[str, str] = {}

    @contextlib.contextmanager
    def without(self, names: Sequence[str]) -> Iterator[None]:
        with self._lock:
            self._users += 1
            self._hidden |= {name: os.environ.pop(name) for name in names if name in os.environ}
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    os.environ.update(self._hidden)
                    self._hidden.clear()


_environment = _Environment()


def enforced(access: Access) -> contextlib.AbstractContextManager[None]:
    """Let libcurl take the configured proxy for every host, whatever the environment says, until the block
    ends.

    libostree cannot tell libcurl so (it never sets CURLOPT_NOPROXY), and requests takes the configured one
    always: both must agree.
    """
    return _environment.without(AROUND_THE_PROXY) if access.proxy else contextlib.nullcontext()
