"""What a release attests to whoever uses its downloads: where they came from (SLSA provenance), and how they
were tested (in-toto's test-result); each signed as a DSSE envelope, and as a Sigstore bundle.

Sources: in-toto attestation v1 (spec/v1/statement.md, spec/v1/bundle.md: a file of envelopes, one a line),
SLSA provenance v1, spec/predicates/test-result.md (v0.1: PASSED, WARNED, FAILED).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1.statement import Statement

from imagebuild import json_text
from imagebuild.errors import BuildError
from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.publish import metadata
from imagebuild.publish.facts import Facts
from imagebuild.release_line.model import Config
from imagebuild.tools import dsse
from imagebuild.tools.dsse import Attester, DsseError

KEY, ENVELOPES = "attestation-key.pem", "attestations.intoto.jsonl"
PROVENANCE, TEST_RESULT = "provenance.sigstore.json", "test-result.sigstore.json"
RESULT_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
# the bundle of each predicate
BUNDLES = {metadata.PREDICATE: PROVENANCE, RESULT_TYPE: TEST_RESULT}
FILES = (*BUNDLES.values(), ENVELOPES, KEY)
PASSED, WARNED, FAILED = "PASSED", "WARNED", "FAILED"
# not applicable is neither: there was nothing to test
LISTS: Mapping[State, str] = {
    State.PASSED: "passedTests",
    State.FLAKY: "warnedTests",
    State.NOT_TESTED: "warnedTests",
    # somebody has answered for it
    State.WAIVED: "warnedTests",
    State.FAILED: "failedTests",
    State.ERROR: "failedTests",
}


def attester_of(config: Config) -> Attester | None:
    """Return who attests for a release line; None when nobody is configured. Raises DsseError."""
    chosen = config.publish.attestations
    return dsse.attester(Path(chosen.key), generate=chosen.generate) if chosen is not None else None


def tested_statement(facts: Facts, cells: Sequence[Cell], configuration: Mapping[str, str]) -> str:
    """Return the statement of how the downloads were tested; `configuration` maps the name of what they were
    tested by to its SHA-256. Raises BuildError when in-toto refuses it.
    """
    found: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for cell in cells:
        if (place := LISTS.get(cell.state)) is None:
            continue
        found[place].append(f"{cell.criterion} ({cell.artifact}, {cell.firmware})")
    result = FAILED if found["failedTests"] else WARNED if found["warnedTests"] else PASSED
    predicate = {
        "result": result,
        "configuration": [
            {"name": name, "digest": {"sha256": digest}} for name, digest in sorted(configuration.items())
        ],
        **{name: sorted(tests) for name, tests in found.items()},
    }
    document = {
        "_type": metadata.STATEMENT,
        "subject": metadata.subjects(facts),
        "predicateType": RESULT_TYPE,
        "predicate": predicate,
    }
    try:
        json_format.ParseDict(predicate, test_result_pb2.TestResult())
        Statement.copy_from_pb(metadata.parsed(document)).validate()
    except Exception as error:  # protobuf's and in-toto's own kinds
        raise BuildError(f"{TEST_RESULT}: in-toto refuses it: {error}") from error
    return json.dumps(document, indent=1) + "\n"


def write(directory: Path, attester: Attester, statements: Sequence[str]) -> None:
    """Sign statements, and write key, envelopes and bundles into the metadata of a release. Raises BuildError
    when they have too many subjects for other tools.
    """
    envelopes = []
    for statement in statements:
        document = json.loads(statement)
        if len(document["subject"]) > dsse.MOST_SUBJECTS:
            raise BuildError(
                f"more than {dsse.MOST_SUBJECTS} downloads cannot be attested to in one statement",
                hint="leave publish.attestations out, or make fewer downloads",
            )
        envelope = attester.envelope(statement.encode())
        envelopes.append(json.dumps(envelope) + "\n")
        bundle = json.dumps(attester.bundle(envelope), indent=1) + "\n"
        (directory / BUNDLES[document["predicateType"]]).write_text(bundle)
    (directory / ENVELOPES).write_text("".join(envelopes))
    (directory / KEY).write_bytes(attester.public_pem())


# --- the check ----------------------------------------------------------------------------------------------


def problems(files: Mapping[str, bytes], facts: Facts, provenance: bytes) -> list[tuple[str, str]]:
    """Return (file, what is wrong with it) of the attestations of a release; `files` are those that are
    signed as parts of it, by name, `provenance` its own statement.
    """
    if not files:
        return []
    if missing := [name for name in FILES if name not in files]:
        return [(name, "is missing: the release has other attestations") for name in missing]
    try:
        key = dsse.public_key(files[KEY])
    except DsseError as error:
        return [(KEY, error.message)]
    found, envelopes = list[tuple[str, str]](), list[Any]()
    for predicate, name in BUNDLES.items():
        try:
            envelope = dsse.envelope_of(json_text.parse(files[name]), key)
            statement = json_text.parse(dsse.opened(envelope, key))
            envelopes.append(envelope)
            found += [(name, says) for says in _wrong(statement, predicate, facts)]
            if predicate == metadata.PREDICATE and statement != json_text.parse(provenance or b"null"):
                found.append((name, "is not the provenance that the release has besides"))
        except DsseError as error:
            found.append((name, error.message))
        except ValueError:
            found.append((name, "it is not JSON"))
    try:
        lines = [json_text.parse(line) for line in files[ENVELOPES].splitlines()]
    except ValueError:
        return [*found, (ENVELOPES, "it is not JSON, an object a line")]
    if lines != envelopes:
        found.append((ENVELOPES, "its envelopes are not those of the bundles"))
    return found


def _wrong(statement: object, predicate: str, facts: Facts) -> list[str]:
    if not isinstance(statement, dict):
        return ["its statement is not an object"]
    kinds = (statement.get("_type"), statement.get("predicateType"))
    if kinds != (metadata.STATEMENT, predicate):
        return [f"it is not a {metadata.STATEMENT} with {predicate}"]
    found = []
    if statement.get("subject") != metadata.subjects(facts):
        found.append("it is not about the downloads that were released")
    said = statement.get("predicate")
    if predicate == RESULT_TYPE and (
        not isinstance(said, dict) or said.get("result") not in (PASSED, WARNED)
    ):
        found.append("it does not say that the downloads passed")
    return found
