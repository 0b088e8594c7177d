"""Known vulnerabilities: advisories of both kinds, in the forms that their publishers have them; what holds a
release, and who may answer for it.

The records have the fields of real ones: Debian's tracker (security-tracker.debian.org/tracker/data/json, the
entry of CVE-2024-3094 in xz-utils), OSV (osv.dev, DEBIAN-CVE-2024-0553 and RLSA-2024:0627), cut to what is
read, with the packages of the tests' lab.
"""

import json
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from imagebuild.config.publish import AuditConfig
from imagebuild.errors import BuildError, UsageError
from imagebuild.publish import advisories, audit
from imagebuild.publish.advisories import Distribution
from imagebuild.publish.audit import Audit, Inventory
from imagebuild.publish.parts import Part
from imagebuild.session.releases import check_signer
from tests.publish.releasing import checked
from tests.release_lab import FIRST, SECOND, Line

PROGRAM = Path(sys.executable).with_name("imagebuild")
DEBIAN = Distribution(vendor="debian", version="12", codename="bookworm", kind="dpkg")
ROCKY = Distribution(vendor="rocky", version="9.4", codename="", kind="rpm")


def of_tracker(status: str, fixed: str | None, urgency: str = "not yet assigned") -> dict[str, Any]:
    """A CVE of Debian's tracker."""
    release = {"status": status, "repositories": {"bookworm": "5.2-1"}, "urgency": urgency}
    if fixed is not None:
        release["fixed_version"] = fixed
    return {"description": "words\nof it", "scope": "local", "releases": {"bookworm": release}}


TRACKER = {
    "bash": {
        "CVE-2026-0001": of_tracker("resolved", "5.2-2", "high**"),
        "CVE-2026-0002": of_tracker("open", None, "low"),
        "CVE-2026-0003": of_tracker("open", None, "unimportant"),
        "CVE-2026-0004": of_tracker("resolved", "0"),
        "CVE-2026-0005": {"description": "of another suite", "releases": {"trixie": {"status": "open"}}},
        "CVE-2026-0006": of_tracker("resolved", "5.1-9"),
    },
    "curl": {"CVE-2026-0010": of_tracker("undetermined", None)},
    "elsewhere": {"CVE-2026-0011": of_tracker("open", None)},
}


def osv(name: str, ecosystem: str, package: str, events: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": events}]
    affected = {"package": {"ecosystem": ecosystem, "name": package}, "ranges": ranges}
    return {"schema_version": "1.6.0", "id": name, "summary": "words", "affected": [affected], **more}


def part(name: str, version: str, source: str = "", source_version: str = "", kind: str = "deb") -> Part:
    return Part(
        name=name, version=version, arch="amd64", source=source, source_version=source_version,
        purl=f"pkg:{kind}/x/{name}@{version}?arch=amd64",
    )  # fmt: skip


def found_by(document: Any, place: Path, parts: list[Part], distribution: Distribution = DEBIAN) -> Audit:
    file = place / "advisories.json"
    file.write_text(json.dumps(document))
    now = Inventory(parts=tuple(parts), distribution=distribution)
    return audit.audit(file, now, None, (), date(2026, 11, 28))


# --- Debian's tracker ---------------------------------------------------------------------------------------


def test_debians_tracker_is_about_source_packages(tmp_path: Path) -> None:
    bash = [part("bash", "5.2-1", "bash", "5.2-1"), part("bash-static", "5.2-1+b3", "bash", "5.2-1")]
    curl = [part("curl", "7.88-1"), part("libcurl4", "7.88-1", "curl", "7.88-1")]
    found = found_by(TRACKER, tmp_path, [*bash, *curl])
    assert [(each.name, each.severity, each.fixed, each.packages) for each in found.found] == [
        ("CVE-2026-0001", "high", "5.2-2", ("bash", "bash-static")),
        ("CVE-2026-0010", "unknown", "", ("curl", "libcurl4")),
        ("CVE-2026-0002", "low", "", ("bash", "bash-static")),
    ]
    assert found.found[0].summary == "words of it"
    assert found.found[0].says == "CVE-2026-0001 (high) in bash 5.2-1: fixed in 5.2-2"
    assert found_by(TRACKER, tmp_path, [part("bash", "5.2-3")]).found[0].name == "CVE-2026-0002"


# --- OSV ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "fixed"),
    [("1.0-1", None), ("1.1-1", "1.2-1"), ("1.2-1", None), ("1.9-1", None), ("2.0-1", ""), ("9.9-1", "")],
)
def test_ranges_of_osv(tmp_path: Path, version: str, fixed: str | None) -> None:
    events = [{"introduced": "1.1-1"}, {"fixed": "1.2-1"}, {"introduced": "2.0-1"}]
    record = osv("DEBIAN-CVE-2026-1", "Debian:12", "a", events, aliases=["CVE-2026-1"])
    found = found_by(record, tmp_path, [part("a", version)])
    assert [(each.name, each.fixed) for each in found.found] == (
        [("CVE-2026-1", fixed)] if fixed is not None else []
    )


def test_the_last_affected_version_and_single_versions(tmp_path: Path) -> None:
    last = osv("A", "Debian", "a", [{"introduced": "0"}, {"last_affected": "1.5-1"}])
    single = osv("B", "Debian:12", "a", [])
    single["affected"][0]["versions"] = ["1.6-1"]
    for version, names in (("1.5-1", ["A"]), ("1.5-2", []), ("1.6-1", ["B"])):
        found = found_by({"vulns": [last, single]}, tmp_path, [part("a", version)]).found
        assert [each.name for each in found] == names


def test_what_is_withdrawn_or_about_others_is_not_counted(tmp_path: Path) -> None:
    events = [{"introduced": "0"}]
    records = [
        osv("A", "Debian:12", "a", events, withdrawn="2026-01-01T00:00:00Z"),
        osv("B", "Debian:11", "a", events),
        osv("C", "PyPI", "a", events),
        osv("D", "Debian:12", "a", []),
    ]
    assert found_by(records, tmp_path, [part("a", "1-1")]).found == ()


def test_rpms_are_compared_as_rpm_does(tmp_path: Path) -> None:
    record = osv(
        "RLSA-2024:0627", "Rocky Linux:9", "gnutls", [{"introduced": "0"}, {"fixed": "0:3.7.6-23.el9_3.3"}],
        aliases=["CVE-2024-0553"], database_specific={"severity": "Important"},
    )  # fmt: skip
    old, new = (part("gnutls", version, kind="rpm") for version in ("3.7.6-23.el9", "3.7.6-23.el9_3.10"))
    (found,) = found_by(record, tmp_path, [old], ROCKY).found
    assert (found.name, found.severity, found.fixed) == ("CVE-2024-0553", "high", "0:3.7.6-23.el9_3.3")
    assert found_by(record, tmp_path, [new], ROCKY).found == ()


def test_records_in_a_directory_and_in_a_zip(tmp_path: Path) -> None:
    place, archive = tmp_path / "osv", tmp_path / "all.zip"
    place.mkdir()
    for name in ("A", "B"):
        record = json.dumps(osv(name, "Debian:12", "a", [{"introduced": "0"}]))
        (place / f"{name}.json").write_text(record)
        with zipfile.ZipFile(archive, "a") as stream:
            stream.writestr(f"{name}.json", record)
    for where in (place, archive):
        known = advisories.read(where, DEBIAN)
        assert {each.name for each in known.known["a"]} == {"A", "B"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "cannot be read as advisories"),
        ("[7]", "7 is not a record"),
        ('{"a": 7}', "neither of Debian's tracker nor of OSV"),
        ('{"id": "x"}', "neither of Debian's tracker nor of OSV"),
        ("[" * 100_000, "nested too deep"),
        ("\x00\xff", "cannot be read as advisories"),
    ],
)
def test_what_is_no_advisory_is_a_sentence(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(BuildError, match=says) as caught:
        advisories.read(file, DEBIAN)
    assert str(file) in caught.value.message
    assert "OSV" in caught.value.hint


def test_odd_records_are_passed_over(tmp_path: Path) -> None:
    odd = {"a": {"CVE-1": 7, "CVE-2": {"releases": []}, "CVE-3": {"releases": {"bookworm": None}}}, "b": {}}
    assert found_by(odd, tmp_path, [part("a", "1-1")]).found == ()
    affected = [7, {"package": 7}, {"package": {"ecosystem": "Debian"}, "ranges": 7}]
    record: dict[str, Any] = {"id": 7, "affected": affected}
    assert found_by(record, tmp_path, [part("a", "1-1")]).found == ()


def test_a_file_that_is_not_there_and_one_of_another_distribution(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no advisories at"):
        advisories.read(tmp_path / "nothing", DEBIAN)
    with pytest.raises(BuildError, match="it is about Debian, and this is rocky"):
        found_by(TRACKER, tmp_path, [], ROCKY)


def test_advisories_that_are_not_there_are_told_before_anything_is_built(
    audited: Line, tmp_path: Path
) -> None:
    check_signer(audited.config)
    (tmp_path / "tracker.json").unlink()
    with pytest.raises(UsageError, match="there are no advisories at"):
        check_signer(audited.config)


def test_a_bomb_in_a_zip_is_not_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
        stream.writestr("A.json", " " * (advisories.LARGEST_RECORD + 1))
    with pytest.raises(BuildError, match="one record has more than 8 MiB"):
        advisories.read(archive, DEBIAN)


# --- a release ----------------------------------------------------------------------------------------------


@pytest.fixture
def audited(line: Line, tmp_path: Path) -> Line:
    """A release line with advisories; its tree is Debian 12."""
    file = tmp_path / "tracker.json"
    file.write_text(json.dumps(TRACKER))
    line.changes["publish"] = line.changes.get("publish", {}) | {"audit": {"advisories": str(file)}}
    return line


def material(line: Line, version: str, packages: dict[str, str], **waiver: str) -> Any:
    if waiver:
        line.changes["waivers"] = [
            {
                "criterion": "vulnerability",
                "who": "Ann",
                "why": "not reached",
                "until": "2027-01-01",
                **waiver,
            }
        ]
    return line.material(line.commit(version, packages, {"usr/lib/os-release": DEBIAN_12}))


DEBIAN_12 = b'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian"\n'


def test_what_a_newer_package_fixes_holds_a_release(audited: Line) -> None:
    with pytest.raises(BuildError, match=r"CVE-2026-0001 \(high\) in bash 5\.2-1: fixed in 5\.2-2") as caught:
        audited.release(material(audited, "12.1", FIRST))
    assert "waive" in caught.value.hint


@pytest.mark.parametrize("artifact", ["CVE-2026-0001", "bash", "bash CVE-2026-*"])
def test_somebody_may_answer_for_it(audited: Line, artifact: str) -> None:
    made = audited.release(material(audited, "12.1", FIRST, artifact=artifact))
    found = json.loads((made / "metadata" / audit.FILE).read_text())
    waived = {each["name"]: each["waived"] for each in found["vulnerabilities"]}
    assert waived["CVE-2026-0001"] == "Ann: not reached (until 2027-01-01)"
    page = (made / "index.html").read_text()
    assert "CVE-2026-0001 (high) in bash 5.2-1: fixed in 5.2-2; waived by Ann: not reached" in page
    assert checked(audited, made).problems == []


def test_a_waiver_of_another_day_or_another_thing_does_not_count(audited: Line) -> None:
    for more in ({"artifact": "curl"}, {"artifact": "CVE-2026-0001", "until": "2026-01-01"}):
        with pytest.raises(BuildError, match="CVE-2026-0001"):
            audited.release(material(audited, "12.1", FIRST, **more))


def test_what_is_new_and_what_is_gone_since_the_release_before(audited: Line) -> None:
    audited.release(material(audited, "12.1", FIRST, artifact="bash*"), day="20261112")
    made = audited.release(material(audited, "12.2", SECOND | {"elsewhere": "1.0"}))
    found = json.loads((made / "metadata" / audit.FILE).read_text())
    assert [each["name"] for each in found["vulnerabilities"] if each["new"]] == ["CVE-2026-0011"]
    assert found["gone"] == ["CVE-2026-0001 in bash"]
    assert "No more, since the release before: CVE-2026-0001 in bash." in (made / "index.html").read_text()


def test_anybody_can_audit_a_release(audited: Line, tmp_path: Path) -> None:
    made = audited.release(material(audited, "12.1", FIRST, artifact="CVE-2026-0001"))
    argv: list[str | Path] = [PROGRAM, "audit", made, "--advisories", tmp_path / "tracker.json"]
    told = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert told.returncode == 3, told.stderr
    assert told.stdout.splitlines()[0] == "CVE-2026-0001 (high) in bash 5.2-1: fixed in 5.2-2 [bash]"
    assert told.stdout.splitlines()[-1] == "3 known vulnerabilities, by tracker.json"
    config = audited.work / "config.yaml"
    waived = subprocess.run(
        [*argv, "--config", config, "--json"], capture_output=True, text=True, check=False
    )
    assert waived.returncode == 0, waived.stderr
    document = json.loads(waived.stdout)["x86_64"]
    assert len(document["vulnerabilities"]) == 3


def test_a_release_without_a_bill_is_a_sentence(line: Line, tmp_path: Path) -> None:
    made = line.release(line.material(line.commit("12.1", FIRST)))
    file = made / "metadata" / "sbom.cdx.json"
    for content, says in (("{}", "is not the bill of materials"), (None, "has no metadata/sbom.cdx.json")):
        file.write_text(content) if content is not None else file.unlink()
        (tmp_path / "x.json").write_text("{}")
        argv: list[str | Path] = [PROGRAM, "audit", made, "--advisories", tmp_path / "x.json"]
        told = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert told.returncode in (1, 2)
        assert says in told.stderr
        assert "Traceback" not in told.stderr


def test_a_line_may_look_without_being_held(audited: Line) -> None:
    audited.changes["publish"]["audit"]["hold"] = "none"
    assert audited.release(material(audited, "12.1", FIRST)).is_dir()
    nothing = Audit(advisories="x", found=(), gone=(), compared=False)
    audit.check(nothing, AuditConfig(advisories="x", hold="all"))
    assert audit.lines(nothing) == ["no known vulnerabilities, by x"]
