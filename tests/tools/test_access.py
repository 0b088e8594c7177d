"""Origins behind an authority of their own, a client certificate, a proxy: real TLS, real libostree; and what
is said when it does not fit.
"""

import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagebuild.config.tree import TreeConfig
from imagebuild.errors import BuildError, UsageError
from imagebuild.release_line import reading as configuration
from imagebuild.session import doctor
from imagebuild.stages import tree as stage
from imagebuild.tools import command
from imagebuild.tools.access import Access
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from tests.data import ROOT
from tests.origin_lab import Authority, make_authority, proxying, server_tls, serving
from tests.tools.ostree.commits import FILES, QUICK, REF, make_commit
from tests.tools.settings import settings


@dataclass(frozen=True)
class Origin:
    """A repository, an authority, and certificates that it signed."""

    repo: Repo
    commit: str
    authority: Authority
    server: tuple[Path, Path]
    client: tuple[Path, Path]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    place = tmp_path_factory.mktemp("origin")
    (place / "tar").mkdir()
    repo = Repo.ensure(place / "repo")
    commit = make_commit(repo, place / "tar", FILES)
    repo.update_summary()
    authority = make_authority(place)
    return Origin(
        repo, commit, authority, authority.sign("server", "127.0.0.1"), authority.sign("client", "builder")
    )


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def pulled(source: TreeConfig, origin: Origin, tmp_path: Path) -> None:
    """Go the whole way from ref to tree: requests first, then libostree."""
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    pinned = stage.pin(source, REF)
    assert pinned.commit == origin.commit
    assert stage.release_before(source, pinned).first
    assert stage.pull_tree(out, pinned, source, tmp_path / "repo").commit == origin.commit


# --- an authority -------------------------------------------------------------------------------------------


def test_a_server_with_an_authority_of_its_own(origin: Origin, tmp_path: Path) -> None:
    with serving(origin.repo.path, tls=server_tls(origin.server)) as url:
        pulled(settings(url, tls={"ca": str(origin.authority.file)}), origin, tmp_path)


def test_an_authority_of_the_environment_does_not_replace_the_configured_one(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_authority(tmp_path, "other")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other.file))
    with serving(origin.repo.path, tls=server_tls(origin.server)) as url:
        pulled(settings(url, tls={"ca": str(origin.authority.file)}), origin, tmp_path)


def test_a_server_that_nobody_vouches_for_names_the_file_to_look_at(origin: Origin, tmp_path: Path) -> None:
    other = make_authority(tmp_path, "other")
    with serving(origin.repo.path, tls=server_tls(origin.server)) as url:
        with pytest.raises(BuildError, match="certificate verify failed") as caught:
            stage.pin(settings(url), REF)
        assert "tree.tls.ca" in caught.value.hint
        with pytest.raises(BuildError, match="certificate verify failed") as caught:
            stage.pin(settings(url, tls={"ca": str(other.file)}), REF)
        assert f"tree.tls.ca ({other.file})" in caught.value.hint
        remote = Remote(url=url, keys=(), verify=False, access=Access(ca=other.file))
        with pytest.raises(BuildError, match="cannot fetch from") as caught:
            Repo.ensure(tmp_path / "repo").pull(remote, origin.commit, patience=QUICK)
        assert f"tree.tls.ca ({other.file})" in caught.value.hint


def test_a_certificate_for_another_name_is_no_matter_of_the_authority(origin: Origin, tmp_path: Path) -> None:
    elsewhere = origin.authority.sign("elsewhere", "127.0.0.2")
    with serving(origin.repo.path, tls=server_tls(elsewhere)) as url, pytest.raises(BuildError) as caught:
        stage.pin(settings(url, tls={"ca": str(origin.authority.file)}), REF)
    assert "another name" in caught.value.hint
    assert "tree.url" in caught.value.hint


def test_a_certificate_that_is_out_of_date_is_said(origin: Origin, tmp_path: Path) -> None:
    old = origin.authority.sign("old", "127.0.0.1", days=-1)
    with serving(origin.repo.path, tls=server_tls(old)) as url, pytest.raises(BuildError) as caught:
        stage.pin(settings(url, tls={"ca": str(origin.authority.file)}), REF)
    assert "not valid today" in caught.value.hint


# --- a client certificate -----------------------------------------------------------------------------------


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def closed(origin: Origin, request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that lets in whom the authority has signed, in two versions of TLS: they refuse at different
    times.
    """
    context = server_tls(origin.server, clients=origin.authority.file, version=request.param)
    with serving(origin.repo.path, tls=context) as url:
        yield url


def test_a_server_for_clients_with_a_certificate(origin: Origin, closed: str, tmp_path: Path) -> None:
    certificate, key = origin.client
    pulled(
        settings(
            closed, tls={"ca": str(origin.authority.file), "certificate": str(certificate), "key": str(key)}
        ),
        origin,
        tmp_path,
    )
    # and both in one file
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    (tmp_path / "again").mkdir()
    pulled(
        settings(closed, tls={"ca": str(origin.authority.file), "certificate": str(both)}),
        origin,
        tmp_path / "again",
    )


def test_a_client_without_a_certificate_is_told_where_it_goes(
    origin: Origin, closed: str, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match="cannot reach") as caught:
        stage.pin(settings(closed, tls={"ca": str(origin.authority.file)}), REF)
    assert "tree.tls.certificate" in caught.value.hint
    remote = Remote(url=closed, keys=(), verify=False, access=Access(ca=origin.authority.file))
    with pytest.raises(BuildError, match="cannot fetch from") as caught:
        Repo.ensure(tmp_path / "repo").pull(remote, origin.commit, patience=QUICK)
    assert "tree.tls.certificate" in caught.value.hint


def test_a_client_that_the_server_does_not_know_is_told_which_file(
    origin: Origin, closed: str, tmp_path: Path
) -> None:
    certificate, key = make_authority(tmp_path, "stranger").sign("stranger-client", "stranger")
    source = settings(
        closed, tls={"ca": str(origin.authority.file), "certificate": str(certificate), "key": str(key)}
    )
    with pytest.raises(BuildError, match="cannot reach") as caught:
        stage.pin(source, REF)
    assert f"tree.tls.certificate ({certificate})" in caught.value.hint


# --- files --------------------------------------------------------------------------------------------------


def encrypted(origin: Origin, tmp_path: Path) -> Path:
    file = tmp_path / "encrypted.key"
    command.run(
        ["openssl", "pkey", "-in", origin.client[1], "-aes256", "-passout", "pass:secret", "-out", file],
        quiet=True,
    )
    return file


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("missing ca", r"tree\.tls\.ca: .*/nothing cannot be read: No such file"),
        ("directory", r"tree\.tls\.ca: .* cannot be read: Is a directory"),
        ("no ca", r"tree\.tls\.ca: .* does not hold a certificate of an authority"),
        ("damaged ca", r"tree\.tls\.ca: .* cannot be used"),
        ("missing certificate", r"tree\.tls\.certificate: .*/nothing cannot be read"),
        ("missing key", r"tree\.tls\.key: .*/nothing cannot be read"),
        ("certificate for key", r"tree\.tls\.key: .* does not hold a private key"),
        ("key for certificate", r"tree\.tls\.certificate: .* does not hold a certificate"),
        ("other key", r"tree\.tls\.key: .* is not the key of the certificate"),
        ("encrypted", r"tree\.tls\.key: .* is encrypted"),
        ("no key", r"tree\.tls\.key: .* does not hold a private key"),
    ],
)
def test_files_are_looked_at_before_anything_else(
    origin: Origin, tmp_path: Path, kind: str, complaint: str
) -> None:
    certificate, key = origin.client
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nsecret!\n-----END CERTIFICATE-----\n")
    tls = {
        "missing ca": {"ca": tmp_path / "nothing"},
        "directory": {"ca": tmp_path},
        "no ca": {"ca": key},
        "damaged ca": {"ca": damaged},
        "missing certificate": {"certificate": tmp_path / "nothing", "key": key},
        "missing key": {"certificate": certificate, "key": tmp_path / "nothing"},
        "certificate for key": {"certificate": certificate, "key": certificate},
        "key for certificate": {"certificate": key, "key": key},
        "other key": {"certificate": certificate, "key": origin.server[1]},
        "encrypted": {"certificate": certificate, "key": encrypted(origin, tmp_path)},
        "no key": {"certificate": certificate},
    }[kind]
    # nothing listens there: the files come first
    source = settings("https://127.0.0.1:9", tls={name: str(file) for name, file in tls.items()})
    with pytest.raises(BuildError, match=complaint) as caught:
        stage.pin(source, REF)
    assert caught.value.hint
    for secret in (line for line in key.read_text().splitlines() if "PRIVATE" not in line):
        assert secret not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"tls": {"key": "/k"}}, "there is no certificate that it belongs to"),
        ({"tls": {}}, "name a ca, a certificate, or both"),
        ({"url": "http://example.org", "tls": {"ca": "/c"}}, "only https:// has certificates"),
        ({"url": "file:///repo", "proxy": "http://proxy:3128"}, "proxy: does not apply to file:///repo"),
        ({"proxy": "proxy:3128"}, "must be http://HOST:PORT"),
        ({"proxy": "http://proxy"}, "must be http://HOST:PORT"),
        ({"proxy": "socks5://proxy:1080"}, "must be http://HOST:PORT"),
        ({"proxy": "http://ada:secret@proxy:3128"}, "not a place for a password"),
    ],
)
def test_what_says_nothing_is_refused(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        settings(**({"url": "https://example.org"} | changes))  # type: ignore[arg-type]  # the url is among them


def test_a_password_is_not_printed(tmp_path: Path) -> None:
    text = (
        (ROOT / "configs" / "debian-12.yaml")
        .read_text()
        .replace("tree:\n", "tree:\n  proxy: http://ada:secret@proxy:3128\n", 1)
    )
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(
        UsageError, match=r"tree\.proxy: a configuration is not a place for a password"
    ) as caught:
        configuration.load(file, tmp_path)
    assert "secret" not in caught.value.message


def test_the_doctor_looks_at_the_files(origin: Origin, tmp_path: Path) -> None:
    config = configuration.load(ROOT / "configs" / "fedora-29.yaml", tmp_path)
    for ca, good in ((origin.authority.file, True), (tmp_path / "nothing", False)):
        tree = settings("https://example.org", tls={"ca": str(ca)})
        (finding,) = (
            each
            for each in doctor.release_line(config.model_copy(update={"tree": tree}))
            if each.what.startswith("TLS")
        )
        assert finding.good is good, finding


def test_how_the_server_is_reached_is_nobody_elses_business(origin: Origin) -> None:
    plain = settings("https://example.org")
    dressed = settings(
        "https://example.org", tls={"ca": str(origin.authority.file)}, proxy="http://proxy:3128"
    )
    assert dressed.model_dump_json() == plain.model_dump_json(), (
        "it would be in the keys of artifacts, and in what is published"
    )


# --- a proxy ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "https"])
def test_a_proxy_is_asked_by_requests_and_by_libostree(
    origin: Origin, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = server_tls(origin.server) if kind == "https" else None
    with (
        serving(origin.repo.path, tls=tls) as url,
        proxying() as (proxy, seen),
        proxying() as (other, unseen),
    ):
        # neither another proxy nor none
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
            monkeypatch.setenv(name, other)
        monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
        monkeypatch.setenv("NO_PROXY", "*")
        source = settings(
            url, proxy=proxy, **({"tls": {"ca": str(origin.authority.file)}} if tls is not None else {})
        )
        pinned = stage.pin(source, REF)
        requested = list(seen.asked)
        assert requested, "requests went around the proxy"
        seen.asked.clear()
        (tmp_path / "out").mkdir()
        stage.pull_tree(tmp_path / "out", pinned, source, tmp_path / "repo")
        assert seen.asked, "libostree went around the proxy"
        assert all(
            each.startswith("CONNECT 127.0.0.1:" if kind == "https" else f"{url}/")
            for each in requested + seen.asked
        )
        assert not unseen.asked, "the environment's proxy was asked"
    assert (os.environ["no_proxy"], os.environ["NO_PROXY"]) == ("127.0.0.1,localhost", "*")


def test_without_a_configured_proxy_the_environment_says_which(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(origin.repo.path) as url, proxying() as (proxy, seen):
        monkeypatch.setenv("http_proxy", proxy)
        pulled(settings(url), origin, tmp_path)
        assert seen.asked


def test_a_proxy_that_is_not_there_or_refuses_is_named(origin: Origin, tmp_path: Path) -> None:
    for kind in ("http", "https"):
        with pytest.raises(BuildError, match="cannot reach") as caught:
            stage.pin(settings(f"{kind}://127.0.0.1:9", proxy="http://127.0.0.1:9"), REF)
        assert "tree.proxy (http://127.0.0.1:9)" in caught.value.hint
        with proxying(refuses=407) as (proxy, seen), pytest.raises(BuildError) as caught:
            stage.pin(settings(f"{kind}://127.0.0.1:9", proxy=proxy), REF)
        assert "tree.proxy" in caught.value.hint
        assert seen.asked
    remote = Remote(
        url="http://127.0.0.1:9", keys=(), verify=False, access=Access(proxy="http://127.0.0.1:9")
    )
    with pytest.raises(BuildError, match="cannot fetch from") as caught:
        Repo.ensure(tmp_path / "repo").pull(remote, origin.commit, patience=QUICK)
    assert "tree.proxy" in caught.value.hint
