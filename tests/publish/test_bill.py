"""Bills of materials, read by the tools of those who made the formats: pyspdxtools (spdx-tools) and
cyclonedx-python-lib's strict schema of CycloneDX 1.6.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing
from packageurl import PackageURL

from imagebuild.publish import bill, bill_cyclonedx, bill_spdx, facts, licences
from imagebuild.publish.findings import ProblemKind
from imagebuild.publish.parts import Origin, Part, parts_of
from imagebuild.tools.ostree.repository import Repo
from tests.publish.releasing import checked, sign_again
from tests.release_lab import FIRST, SECOND, Line

TOOL = "imagebuild-1.0"
PYSPDXTOOLS = Path(sys.executable).with_name("pyspdxtools")
DEBIAN = Origin(kind="dpkg", vendor="debian", version="12")
FEDORA = Origin(kind="rpm", vendor="fedora", version="26")


def accepted(place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Have both files of a directory read by their own tools; return what is in them."""
    spdx, cyclonedx = place / bill.SPDX, place / bill.CYCLONEDX
    finished = subprocess.run([PYSPDXTOOLS, "-i", spdx], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr.strip()) == (0, ""), finished.stdout + finished.stderr
    text = cyclonedx.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    return json.loads(spdx.read_text()), json.loads(text)


def test_a_releases_bills_are_taken_by_their_tools(line: Line) -> None:
    material = line.material(line.commit("12.1", FIRST))
    released = line.release(material)
    spdx, cyclonedx = accepted(released / "metadata")
    known = facts.read(released)
    packages = {each["name"]: each for each in spdx["packages"]}
    # the packages of the commit, the tree, the downloads, and what the live ISO has besides
    added = {"imagebuild", "pykickstart"}
    assert set(packages) >= {*FIRST, known.ref, *(each.path for each in known.downloads), *added}
    assert packages[known.ref]["checksums"] == [{"algorithm": "SHA256", "checksumValue": known.tree.commit}]
    bash = next(each for each in cyclonedx["components"] if each["name"] == "bash")
    assert PackageURL.from_string(bash["purl"]).version == FIRST["bash"]
    assert spdx["creationInfo"]["created"] == "2026-09-21T14:13:20Z"
    installers = {each.path for each in known.downloads if bill.is_installer(each)}
    contains = {
        each["spdxElementId"]
        for each in spdx["relationships"]
        if each["relatedSpdxElement"] == packages["imagebuild"]["SPDXID"]
    }
    assert contains == {packages[path]["SPDXID"] for path in installers}


def test_the_same_release_has_the_same_bill(line: Line) -> None:
    known = facts.read(line.release(line.material(line.commit("12.1", FIRST))))
    made = bill.Bill(facts=known, parts=(), origin=DEBIAN, installers={})
    assert bill_spdx.write(made, TOOL) == bill_spdx.write(made, TOOL)
    assert bill_cyclonedx.write(made, TOOL) == bill_cyclonedx.write(made, TOOL)
    other = replace(made, facts=known.model_copy(update={"arch": "aarch64"}))
    assert made.namespace != other.namespace


def test_an_installer_of_another_program_is_said_to_be_incomplete(line: Line, tmp_path: Path) -> None:
    known = facts.read(line.release(line.material(line.commit("12.1", FIRST))))
    iso = next(each.path for each in known.downloads if bill.is_installer(each))
    made = bill.Bill(facts=known, parts=(), origin=DEBIAN, installers={iso: None})
    (tmp_path / bill.SPDX).write_text(bill_spdx.write(made, TOOL))
    (tmp_path / bill.CYCLONEDX).write_text(bill_cyclonedx.write(made, TOOL))
    spdx, cyclonedx = accepted(tmp_path)
    assert "NOASSERTION" in {each["relatedSpdxElement"] for each in spdx["relationships"]}
    assert {each["name"] for each in cyclonedx["components"] if "properties" in each} == {iso, known.ref}


def test_every_field_that_a_package_may_have_is_taken(line: Line, tmp_path: Path) -> None:
    known = facts.read(line.release(line.material(line.commit("12.1", FIRST))))
    parts = (
        Part(
            name="glibc", version="2.25-6.fc26", arch="x86_64", source="glibc", source_version="2.25-6.fc26",
            licence=licences.of_tag("LGPLv2+ and Public Domain"), supplier="Fedora Project", header="a" * 64,
            purl=FEDORA.purl("glibc", "2.25-6.fc26", "x86_64"),
        ),
        # two versions of one package, as kernels are
        *(Part(name="kernel", version=f"1:4.{n}-1", arch="x86_64", supplier="A <b@example.org>",
               purl=FEDORA.purl("kernel", f"1:4.{n}-1", "x86_64")) for n in (11, 12)),
        Part(name="odd", version="1~rc1+x", arch="amd64", supplier="<nobody>",
             purl=DEBIAN.purl("odd", "1~rc1+x", "amd64")),
    )  # fmt: skip
    made = bill.Bill(facts=known, parts=parts, origin=FEDORA, installers={})
    (tmp_path / bill.SPDX).write_text(bill_spdx.write(made, TOOL))
    (tmp_path / bill.CYCLONEDX).write_text(bill_cyclonedx.write(made, TOOL))
    spdx, _ = accepted(tmp_path)
    packages = {(each["name"], each.get("versionInfo")): each for each in spdx["packages"]}
    glibc = packages["glibc", "2.25-6.fc26"]
    assert glibc["licenseDeclared"] == "LGPL-2.1-or-later AND LicenseRef-Public-Domain"
    assert [each["licenseId"] for each in spdx["hasExtractedLicensingInfos"]] == ["LicenseRef-Public-Domain"]
    assert glibc["externalRefs"][0]["referenceLocator"] == (
        "pkg:rpm/fedora/glibc@2.25-6.fc26?arch=x86_64&distro=fedora-26"
    )
    assert len([name for name, _ in packages if name == "kernel"]) == 2
    assert packages["odd", "1~rc1+x"]["supplier"] == "NOASSERTION"


# --- what packages say of themselves ------------------------------------------------------------------------


def test_the_source_of_a_package_has_a_version_of_its_own(line: Line) -> None:
    repo = Repo(line.commit("12.1", FIRST).repo)
    commit = line.trees[-1].commit
    assert {part.name: part.source for part in parts_of(repo, commit)} == {name: name for name in FIRST}
    assert {part.name: part.version for part in parts_of(repo, commit)} == FIRST


@pytest.mark.parametrize(
    ("tag", "expression"),
    [
        ("GPLv2+ and MIT", "GPL-2.0-or-later AND MIT"),
        ("BSD and (GPLv2 or ASL 2.0)", "BSD-3-Clause AND (Apache-2.0 OR GPL-2.0-only)"),
        ("GPL-2.0-or-later AND MIT", "GPL-2.0-or-later AND MIT"),
        ("MIT and Foo Bar, v2", "LicenseRef-MIT-and-Foo-Bar-v2"),
        ("Public Domain", "LicenseRef-Public-Domain"),
        ("MIT (", "LicenseRef-MIT"),
        ("(none)", ""),
        ("", ""),
        ("and", "LicenseRef-and"),
        ("x" * 500, f"LicenseRef-{'x' * 80}"),
    ],
)
def test_an_rpms_licence(tag: str, expression: str) -> None:
    assert licences.of_tag(tag) == expression


COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2020 A
License: GPL-2+

Files: debian/*
Copyright: 2021 B
License: Expat or Artistic

License: GPL-2+
 words
"""


def test_a_debian_packages_licence() -> None:
    assert licences.of_copyright(COPYRIGHT.encode()) == "GPL-2.0-or-later AND (Artistic-1.0-Perl OR MIT)"
    assert licences.of_copyright(b"This package was debianized by hand.\n") == ""
    assert licences.of_copyright(b"\xff\xfe Format: x\n\n\n") == ""
    assert licences.of_copyright(COPYRIGHT.encode() * 10_000) == ""


def test_every_copyright_file_of_this_machine_gives_what_spdx_takes() -> None:
    """Real ones."""
    read = 0
    for file in sorted(Path("/usr/share/doc").glob("*/copyright"))[:60]:
        expression = licences.of_copyright(file.read_bytes())
        read += bool(expression)
        if expression:
            get_spdx_licensing().parse(expression)
    assert read > 5


# --- verify -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        (bill.SPDX, lambda text: text.replace("SPDX-2.3", "SPDX-2.2"), "is not SPDX-2.3"),
        (bill.CYCLONEDX, lambda text: text.replace('"1.6"', '"1.4"'), "is not CycloneDX 1.6"),
        (bill.SPDX, lambda text: text.replace("/bash@", "/zsh@"), "do not name the same packages"),
        (bill.CYCLONEDX, lambda _: "{", "is not JSON"),
        (bill.CYCLONEDX, lambda _: "[]", "is not an object"),
        (bill.SPDX, lambda _: '{"packages": 7}', "is not of the commit"),
    ],
)
def test_a_bill_that_is_of_something_else(
    line: Line, name: str, change: Callable[[str], str], says: str
) -> None:
    released = line.release(line.material(line.commit("12.2", SECOND)))
    file = released / "metadata" / name
    file.write_text(change(file.read_text()))
    sign_again(released, line)
    found = checked(line, released)
    assert {problem.kind for problem in found.problems} == {ProblemKind.METADATA}
    assert says in " ".join(problem.says for problem in found.problems)
