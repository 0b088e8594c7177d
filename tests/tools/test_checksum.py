"""CHECKSUM files: Fedora's format, a signature that counts, and everything that must not."""

import functools
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.tools import command, gpg
from imagebuild.tools.checksum import HashedFile, entries_of, hashed, text_of
from imagebuild.tools.gpg import SignatureError, Signer, signed_payload

A, B = (
    HashedFile(name="b.iso", size=3, sha256="ab" * 32),
    HashedFile(name="a.qcow2", size=12345678901, sha256="0" * 64),
)
TEXT = (
    f"# a.qcow2: 12345678901 bytes\nSHA256 (a.qcow2) = {'0' * 64}\n# b.iso: 3 bytes\nSHA256 (b.iso) ="
    f" {'ab' * 32}\n"
)
USER = "imagebuild test <test@example.org>"


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Signer, Path]]:
    place = tmp_path_factory.mktemp("gpg")
    with gpg.signer(USER, homedir=place / "home", key_file=None, generate=True) as signer:
        (place / "key.asc").write_text(signer.public_key())
        yield signer, place / "key.asc"


def test_the_format() -> None:
    assert text_of([A, B]) == TEXT
    assert entries_of(TEXT.encode(), what="x") == {"a.qcow2": B, "b.iso": A}


def test_coreutils_agree(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content" * 1000)
    entry = hashed(tmp_path / "file", "file")
    assert entry == HashedFile(name="file", size=7000, sha256=hashlib.sha256(b"content" * 1000).hexdigest())
    (tmp_path / "CHECKSUM").write_text(text_of([entry]))
    assert "file: OK" in command.run(["sha256sum", "--check", "--ignore-missing", "CHECKSUM"], cwd=tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"SHA256 (a) = {'0' * 64}\n", "line 1"),
        (f"# a: 3 bytes\nSHA256 (b) = {'0' * 64}\n", "line 2"),
        ("# a: 3 bytes\nSHA256 (a) = 00\n", "line 2"),
        ("# a: 3 bytes\n", "ends after"),
        (f"# a: 3 bytes\nSHA256 (a) = {'0' * 64}\n" * 2, "twice"),
        (f"# ../a: 3 bytes\nSHA256 (../a) = {'0' * 64}\n", "not a name"),
        (f"# /a: 3 bytes\nSHA256 (/a) = {'0' * 64}\n", "not a name"),
        (f"# <b>: 3 bytes\nSHA256 (<b>) = {'0' * 64}\n", "not a name"),
        ("\xff", "not a size"),
    ],
)
def test_texts_that_are_none(text: str, says: str) -> None:
    with pytest.raises(BuildError, match=says):
        entries_of(text.encode(), what="CHECKSUM")


@pytest.mark.parametrize("name", ["a\nb", "../x", "a//b", "", "a/", "<script>"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(BuildError, match="not a name"):
        text_of([HashedFile(name=name, size=1, sha256="0" * 64)])


def test_what_is_signed_comes_back(signing: tuple[Signer, Path]) -> None:
    signer, key = signing
    signed = signer.clearsign(TEXT)
    assert signed.startswith("-----BEGIN PGP SIGNED MESSAGE-----")
    assert signed_payload(signed.encode(), [key], what="x").decode() == TEXT


def test_tampering_is_seen(signing: tuple[Signer, Path]) -> None:
    signer, key = signing
    signed = signer.clearsign(TEXT)
    evil = f"# evil: 1 bytes\nSHA256 (evil) = {'6' * 64}\n"
    for changed, says in (
        (signed.replace("b.iso", "c.iso"), "was changed"),
        (evil + signed, "nothing else"),
        (signed + evil, "nothing else"),
        (signed + signed, "nothing else"),
        (signed + "-----END PGP SIGNATURE-----\n", "nothing else"),
        (TEXT, "nothing else"),
        (
            signed.replace("-----BEGIN PGP SIGNATURE-----\n\n", "-----BEGIN PGP SIGNATURE-----\n\nAAAA"),
            "CHECKSUM",
        ),
    ):
        with pytest.raises(SignatureError, match=says):
            signed_payload(changed.encode(), [key], what="CHECKSUM")


def test_other_keys_do_not_count(signing: tuple[Signer, Path], tmp_path: Path) -> None:
    signer, _ = signing
    with gpg.signer(
        "other <other@example.org>", homedir=tmp_path / "home", key_file=None, generate=True
    ) as other:
        (tmp_path / "other.asc").write_text(other.public_key())
    with pytest.raises(SignatureError, match="another key"):
        signed_payload(signer.clearsign(TEXT).encode(), [tmp_path / "other.asc"], what="CHECKSUM")


def test_an_expired_key_does_not_count(tmp_path: Path) -> None:
    with gpg.keyring(tmp_path / "home") as home:
        argv: list[str | Path] = [
            "gpg",
            "--homedir",
            home,
            "--batch",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
            "--faked-system-time",
            "20200101T000000",
        ]
        command.run([*argv, "--quick-generate-key", USER, "rsa2048", "sign", "2020-02-01"])
        (tmp_path / "text").write_text(TEXT)
        command.run([*argv, "--output", tmp_path / "signed", "--clearsign", tmp_path / "text"])
        (tmp_path / "key.asc").write_text(command.run(["gpg", "--homedir", home, "--armor", "--export"]))
    signed = (tmp_path / "signed").read_bytes()
    with pytest.raises(SignatureError, match="expired"):
        signed_payload(signed, [tmp_path / "key.asc"], what="CHECKSUM")
    # of a release of those days
    assert signed_payload(signed, [tmp_path / "key.asc"], what="CHECKSUM", then=True).decode() == TEXT
    with pytest.raises(SignatureError, match="was changed"):
        signed_payload(signed.replace(b"b.iso", b"c.iso"), [tmp_path / "key.asc"], what="CHECKSUM", then=True)


def test_keys_of_files(signing: tuple[Signer, Path], tmp_path: Path) -> None:
    signer, key = signing
    secret = tmp_path / "secret.asc"
    secret.write_text(
        command.run(
            [
                "gpg",
                "--homedir",
                signer.homedir or "",
                "--batch",
                "--armor",
                "--export-secret-keys",
                signer.fingerprint,
            ]
        )
    )
    with gpg.signer(USER, homedir=None, key_file=secret, generate=False) as other:
        assert other.fingerprint == signer.fingerprint
        assert signed_payload(other.clearsign(TEXT).encode(), [key], what="x").decode() == TEXT
        (tmp_path / "file").write_text("x")
        other.detach(tmp_path / "file", tmp_path / "file.sig")
    gpg.check_detached(tmp_path / "file", tmp_path / "file.sig", [key], what="file")
    (tmp_path / "file").write_text("y")
    with pytest.raises(SignatureError, match="was changed"):
        gpg.check_detached(tmp_path / "file", tmp_path / "file.sig", [key], what="file")
    with (
        pytest.raises(BuildError, match="no secret key"),
        gpg.signer("nobody", homedir=tmp_path / "empty", key_file=None, generate=False),
    ):
        pass


def test_a_home_directory_with_a_long_name(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with gpg.signer(USER, homedir=deep, key_file=None, generate=True) as signer:
        (tmp_path / "key.asc").write_text(signer.public_key())
        signed = signer.clearsign(TEXT)
    assert signed_payload(signed.encode(), [tmp_path / "key.asc"], what="x").decode() == TEXT
    # once more: what was made is there under the long name
    with gpg.signer(USER, homedir=deep, key_file=None, generate=False) as again:
        assert again.fingerprint == signer.fingerprint


def test_a_key_with_a_passphrase_signs_again_and_again_while_its_agent_knows_it(tmp_path: Path) -> None:
    """The agent of a configured home directory is somebody's: it was told the passphrase by hand."""
    home, preset = tmp_path / "home", Path("/usr/lib/gnupg/gpg-preset-passphrase")
    home.mkdir(mode=0o700)
    (home / "gpg-agent.conf").write_text("allow-preset-passphrase\n")
    gnupg: list[str | Path] = ["gpg", "--homedir", home, "--batch"]
    command.run(
        [
            *gnupg,
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "geheim",
            "--quick-generate-key",
            USER,
            "rsa2048",
            "sign",
            "never",
        ]
    )
    command.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"])
    wanted = functools.partial(gpg.signer, USER, homedir=home, key_file=None, generate=False)
    try:
        with wanted() as signer, pytest.raises(BuildError, match="gpg"):
            signer.clearsign(TEXT)
        listing = command.run([*gnupg, "--with-colons", "--with-keygrip", "--list-secret-keys"])
        (grip,) = [line.split(":")[9] for line in listing.splitlines() if line.startswith("grp:")]
        environment = {**os.environ, "GNUPGHOME": str(home)}
        subprocess.run([preset, "--preset", grip], input=b"geheim", check=True, env=environment)
        for _ in range(2):
            with wanted() as signer:
                (tmp_path / "key.asc").write_text(signer.public_key())
                assert (
                    signed_payload(signer.clearsign(TEXT).encode(), [tmp_path / "key.asc"], what="x").decode()
                    == TEXT
                )
    finally:
        command.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"])


def test_a_name_of_several_keys_is_nobodys(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("Ada <ada@example.org>", "Ada <ada@example.com>"):
        with gpg.signer(name, homedir=home, key_file=None, generate=True) as signer:
            assert len(signer.fingerprint) == 40
    with (
        pytest.raises(BuildError, match=r"2 secret keys .* are of Ada") as error,
        gpg.signer("Ada", homedir=home, key_file=None, generate=False),
    ):
        pass
    assert "fingerprint" in error.value.hint


def test_a_long_home_directory_that_is_somebodys(tmp_path: Path) -> None:
    """Its agent is reached through a short name that goes away: it must not be left behind under that."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with gpg.signer(USER, homedir=deep, key_file=None, generate=True) as signer:
        fingerprint = signer.fingerprint
    for _ in range(2):
        with gpg.signer(USER, homedir=deep, key_file=None, generate=False) as again:
            assert again.fingerprint == fingerprint
            assert again.clearsign(TEXT)
    with (
        pytest.raises(BuildError, match=f"no secret key of nobody in {deep}"),
        gpg.signer("nobody", homedir=deep, key_file=None, generate=False),
    ):
        pass
