"""Attestations of a release: read by cosign without any network, and by `verify`; wrong ones are refused by
both.
"""

import base64
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from imagebuild.errors import BuildError
from imagebuild.publish import attestations, facts, metadata
from imagebuild.publish.attestations import BUNDLES, ENVELOPES, KEY, PROVENANCE, RESULT_TYPE, TEST_RESULT
from imagebuild.publish.findings import ProblemKind
from imagebuild.session.releases import check_signer
from imagebuild.tools import dsse
from imagebuild.tools.dsse import Attester, DsseError
from tests.cosign import cosign
from tests.publish.releasing import checked, sign_again
from tests.release_lab import FIRST, Line

__all__ = ["cosign"]

OFFLINE = ("unshare", "--net") if os.geteuid() == 0 else ()
TYPES = {PROVENANCE: "slsaprovenance1", TEST_RESULT: RESULT_TYPE}


@pytest.fixture
def attested(line: Line) -> Line:
    """A release line with a key for attestations, as the demo has one."""
    assert line.config.publish.attestations is not None
    return line


def key_of(line: Line) -> Path:
    """The file of its key."""
    assert line.config.publish.attestations is not None
    return Path(line.config.publish.attestations.key)


@pytest.fixture
def released(attested: Line) -> Path:
    return attested.release(attested.material(attested.commit("12.1", FIRST)))


def said_by(cosign: Path, directory: Path, name: str, artifact: Path, *, key: Path | None = None) -> str:
    """Return what cosign says of a bundle, an artifact and a key; it ends with the exit code."""
    finished = subprocess.run(
        [
            *OFFLINE, cosign, "verify-blob-attestation", "--key", key or directory / KEY, "--bundle",
            directory / name, "--insecure-ignore-tlog=true", "--type", TYPES[name], artifact,
        ],
        capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    return f"{finished.stderr.strip()} {finished.returncode}"


# --- cosign -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUNDLES.values())
def test_cosign_accepts_every_download(cosign: Path, released: Path, name: str) -> None:
    for download in facts.read(released).downloads:
        said = said_by(cosign, released / "metadata", name, released / download.path)
        assert said.endswith("Verified OK 0"), said


@pytest.mark.parametrize("name", BUNDLES.values())
def test_cosign_refuses_what_is_wrong(cosign: Path, released: Path, tmp_path: Path, name: str) -> None:
    place, download = released / "metadata", released / facts.read(released).downloads[0].path
    changed = tmp_path / "changed"
    changed.write_bytes(download.read_bytes() + b"x")
    said = said_by(cosign, place, name, changed)
    assert "provided artifact digests do not match digests in statement" in said
    other = tmp_path / "other.pem"
    other.write_bytes(Attester(ec.generate_private_key(ec.SECP256R1())).public_pem())
    said = said_by(cosign, place, name, download, key=other)
    assert "accepted signatures do not match threshold" in said
    assert said.endswith(" 1")


# --- verify -------------------------------------------------------------------------------------------------


def test_verify_accepts_it(attested: Line, released: Path) -> None:
    assert checked(attested, released).problems == []
    lines = (released / "metadata" / ENVELOPES).read_text().splitlines()
    statements = [json.loads(base64.b64decode(json.loads(line)["payload"])) for line in lines]
    assert [each["predicateType"] for each in statements] == [metadata.PREDICATE, RESULT_TYPE]
    assert statements[0] == json.loads((released / "metadata" / "provenance.json").read_text())
    tested = statements[1]["predicate"]
    assert tested["result"] == "PASSED"
    assert tested["failedTests"] == tested["warnedTests"] == []
    assert any(name.startswith("boots-the-released-commit (") for name in tested["passedTests"])


def test_without_a_key_there_are_none(line: Line) -> None:
    line.changes["publish"] = line.changes.get("publish", {}) | {"attestations": None}
    made = line.release(line.material(line.commit("12.1", FIRST)))
    assert not list(made.rglob("*.sigstore.json"))
    assert checked(line, made).problems == []


def test_the_same_release_has_the_same_attestations(attested: Line, released: Path) -> None:
    """With the same key: a rebuild can be compared byte by byte."""
    made = json.loads((released / "metadata" / PROVENANCE).read_text())["dsseEnvelope"]
    assert dsse.attester(key_of(attested)).envelope(base64.b64decode(made["payload"])) == made


Change = Callable[[Path, Attester], None]


def bundle(name: str, change: Callable[[dict[str, Any]], object], *, signed: bool = False) -> Change:
    """Change the statement in a bundle, with a signature of the right key or of none."""

    def do(place: Path, attester: Attester) -> None:
        document = json.loads((place / name).read_text())
        statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
        change(statement)
        payload = json.dumps(statement).encode()
        if signed:
            document["dsseEnvelope"] = attester.envelope(payload)
        else:
            document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
        (place / name).write_text(json.dumps(document))

    return do


def field(name: str, change: Callable[[dict[str, Any]], object]) -> Change:
    """Change a bundle itself."""

    def do(place: Path, _: Attester) -> None:
        document = json.loads((place / name).read_text())
        change(document)
        (place / name).write_text(json.dumps(document))

    return do


def written(name: str, data: bytes) -> Change:
    def do(place: Path, _: Attester) -> None:
        (place / name).write_bytes(data)

    return do


def failed(statement: dict[str, Any]) -> None:
    statement["predicate"]["result"] = "FAILED"


def another_type(statement: dict[str, Any]) -> None:
    statement["predicateType"] = metadata.PREDICATE


def another_key(place: Path, _: Attester) -> None:
    (place / KEY).write_bytes(Attester(ec.generate_private_key(ec.SECP256R1())).public_pem())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (bundle(PROVENANCE, lambda s: s["subject"][0].update(name="x")), "it was changed since"),
        (bundle(PROVENANCE, lambda s: s["subject"].pop(), signed=True), "not about the downloads"),
        (bundle(PROVENANCE, lambda s: s["predicate"].clear(), signed=True), "not the provenance"),
        (bundle(TEST_RESULT, failed, signed=True), "the downloads passed"),
        (bundle(TEST_RESULT, another_type, signed=True), "it is not a"),
        (field(TEST_RESULT, lambda b: b.update(mediaType="x")), "it is not a bundle of"),
        (field(TEST_RESULT, lambda b: b["verificationMaterial"].clear()), "a bundle for another key"),
        (field(TEST_RESULT, lambda b: b["dsseEnvelope"]["signatures"].append({})), "exactly one signature"),
        (field(TEST_RESULT, lambda b: b["dsseEnvelope"]["signatures"][0].update(keyid="x")), "a keyid"),
        (field(TEST_RESULT, lambda b: b["dsseEnvelope"].update(payload="%")), "it is not base64"),
        (field(TEST_RESULT, lambda b: b["dsseEnvelope"].update(payload=7)), "it was changed since"),
        (written(TEST_RESULT, b"{"), "it is not JSON"),
        (written(TEST_RESULT, b"[]"), "it is not a bundle of"),
        (written(ENVELOPES, b"{}\n"), "are not those of the bundles"),
        (written(ENVELOPES, b"{\n"), "an object a line"),
        (written(KEY, b"nothing"), "it is not a public key"),
        (lambda place, _: (place / TEST_RESULT).unlink(), "is missing"),
        (lambda place, _: (place / KEY).unlink(), "is missing"),
        (another_key, "a bundle for another key"),
    ],
)  # fmt: skip
def test_verify_refuses_what_is_wrong(attested: Line, released: Path, change: Change, says: str) -> None:
    """Also where the release's own key signed it."""
    attester = dsse.attester(key_of(attested))
    change(released / "metadata", attester)
    sign_again(released, attested)
    found = checked(attested, released)
    wrong = [problem for problem in found.problems if problem.kind is ProblemKind.SIGNATURE]
    assert says in " ".join(problem.says for problem in wrong), found.problems
    # of what is not there the page says that it is
    assert {problem.kind for problem in found.problems} <= {ProblemKind.SIGNATURE, ProblemKind.PAGE}


# --- keys ---------------------------------------------------------------------------------------------------


def pem(key: Any, *, password: bytes = b"") -> bytes:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    data: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    return data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lambda: pem(ec.generate_private_key(ec.SECP384R1())), "is not a P-256 key"),
        (lambda: pem(rsa.generate_private_key(65537, 2048)), "is not a P-256 key"),
        (lambda: pem(ec.generate_private_key(ec.SECP256R1()), password=b"x"), "without a passphrase"),
        (lambda: b"nothing", "is not a private key in PEM"),
    ],
)
def test_a_key_that_does_not_do(attested: Line, tmp_path: Path, data: Callable[[], bytes], says: str) -> None:
    """Said before anything is built."""
    file = key_of(attested)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data())
    file.chmod(0o600)
    with pytest.raises(BuildError, match=says) as caught:
        check_signer(attested.config)
    assert str(file) in caught.value.message
    assert "openssl" in caught.value.hint


def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    made = dsse.attester(file, generate=True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert dsse.attester(file, generate=True).public_pem() == made.public_pem()
    file.chmod(0o640)
    with pytest.raises(DsseError, match="others than its owner"):
        dsse.attester(file)
    file.unlink()
    with pytest.raises(DsseError, match="cannot be read"):
        dsse.attester(file)


def test_too_many_downloads(tmp_path: Path) -> None:
    statement = json.dumps({"subject": [{}] * 1025, "predicateType": metadata.PREDICATE})
    with pytest.raises(BuildError, match="more than 1024 downloads"):
        attestations.write(tmp_path, Attester(ec.generate_private_key(ec.SECP256R1())), [statement])
