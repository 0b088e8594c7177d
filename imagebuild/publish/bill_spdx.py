"""The bill of materials as SPDX 2.3 (JSON), written and checked by spdx-tools."""

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from license_expression import get_spdx_licensing
from spdx_tools.spdx.model.actor import Actor, ActorType
from spdx_tools.spdx.model.checksum import Checksum, ChecksumAlgorithm
from spdx_tools.spdx.model.document import CreationInfo, Document
from spdx_tools.spdx.model.extracted_licensing_info import ExtractedLicensingInfo
from spdx_tools.spdx.model.package import (
    ExternalPackageRef,
    ExternalPackageRefCategory,
    Package,
    PackagePurpose,
)
from spdx_tools.spdx.model.relationship import Relationship, RelationshipType
from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from spdx_tools.spdx.writer.json.json_writer import write_document_to_stream

from imagebuild.errors import BuildError
from imagebuild.publish import licences
from imagebuild.publish.bill import SPDX, SPDX_VERSION, Addition, Bill, is_installer
from imagebuild.publish.facts import DownloadFacts
from imagebuild.publish.parts import Part

DOCUMENT, TREE = "SPDXRef-DOCUMENT", "SPDXRef-Tree"
# SPDX 2.3, 7.5: the supplier is a person or an organisation with an address in brackets
SUPPLIER = re.compile(r"([^<>()]{1,200}?)\s*(?:<([^<>\s]{1,200})>)?")


def write(bill: Bill, tool: str) -> str:
    """Return the document; `tool` is the name and version of the program. Raises BuildError when spdx-tools
    finds it wrong.
    """
    facts = bill.facts
    downloads = {download.path: _id("Download", download.path) for download in facts.downloads}
    packages = [_tree(bill), *(_download(each, downloads[each.path]) for each in facts.downloads)]
    packages += [_part(part, number) for number, part in enumerate(bill.parts)]
    relations = [Relationship(DOCUMENT, RelationshipType.DESCRIBES, one) for one in downloads.values()]
    relations += [Relationship(one, RelationshipType.CONTAINS, TREE) for one in downloads.values()]
    relations += [
        Relationship(TREE, RelationshipType.CONTAINS, _part_id(number)) for number in range(len(bill.parts))
    ]
    seen: dict[str, str] = {}
    for path, additions in bill.installers.items():
        if additions is None:
            relations.append(
                Relationship(
                    downloads[path],
                    RelationshipType.CONTAINS,
                    SpdxNoAssertion(),
                    comment="the installer's own root file system has packages that are not listed here",
                )
            )
        for addition in additions or ():
            if addition.purl not in seen:
                seen[addition.purl] = f"SPDXRef-Addition-{len(seen)}"
                packages.append(_addition(addition, seen[addition.purl]))
            relations.append(Relationship(downloads[path], RelationshipType.CONTAINS, seen[addition.purl]))
    document = Document(
        CreationInfo(
            spdx_version=SPDX_VERSION,
            spdx_id=DOCUMENT,
            name=bill.name,
            document_namespace=bill.namespace,
            creators=[Actor(ActorType.TOOL, tool)],
            created=_time(facts.created),
        ),
        packages=packages,
        relationships=relations,
        extracted_licensing_info=list(_references(bill)),
    )
    if wrong := validate_full_spdx_document(document):
        raise BuildError(
            f"{SPDX}: spdx-tools refuses it: {wrong[0].validation_message}",
            hint="this is a bug: please report it",
        )
    stream = io.StringIO()
    write_document_to_stream(document, stream, validate=False)
    return stream.getvalue() + "\n"


def _time(seconds: int) -> datetime:
    # spdx-tools wants one without a zone, which it writes as UTC
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def _id(kind: str, name: str) -> str:
    """Return an SPDXID (SPDX 2.3, 7.2: letters, numbers, dots, hyphens)."""
    return f"SPDXRef-{kind}-{re.sub(r'[^A-Za-z0-9.]+', '-', name)}"


def _part_id(number: int) -> str:
    return f"SPDXRef-Package-{number}"


def _sha256(digest: str) -> list[Checksum]:
    return [Checksum(ChecksumAlgorithm.SHA256, digest)]


def _purl(purl: str) -> list[ExternalPackageRef]:
    return [ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", purl)]


def _tree(bill: Bill) -> Package:
    return Package(
        spdx_id=TREE,
        name=bill.facts.ref,
        version=bill.facts.tree.version,
        download_location=SpdxNoAssertion(),
        files_analyzed=False,
        # the name of an OSTree commit is the SHA-256 of its object
        checksums=_sha256(bill.facts.tree.commit),
        summary=f"{bill.facts.title}, an OSTree commit",
        primary_package_purpose=PackagePurpose.OPERATING_SYSTEM,
    )


def _download(download: DownloadFacts, spdx_id: str) -> Package:
    return Package(
        spdx_id=spdx_id,
        name=download.path,
        file_name=download.path,
        download_location=SpdxNoAssertion(),
        files_analyzed=False,
        checksums=_sha256(download.sha256),
        primary_package_purpose=PackagePurpose.INSTALL if is_installer(download) else PackagePurpose.FILE,
    )


def _part(part: Part, number: int) -> Package:
    source = f"built from source package: {part.source} {part.source_version}" if part.source else None
    header = f"SHA-256 of the rpm's header: {part.header}" if part.header else None
    return Package(
        spdx_id=_part_id(number),
        name=part.name,
        version=part.version,
        supplier=_supplier(part.supplier),
        download_location=SpdxNoAssertion(),
        files_analyzed=False,
        source_info=source,
        license_declared=get_spdx_licensing().parse(part.licence) if part.licence else SpdxNoAssertion(),
        comment=header,
        external_references=_purl(part.purl),
    )


def _addition(addition: Addition, spdx_id: str) -> Package:
    return Package(
        spdx_id=spdx_id,
        name=addition.name,
        version=addition.version,
        download_location=SpdxNoAssertion(),
        files_analyzed=False,
        license_declared=get_spdx_licensing().parse(addition.licence),
        comment="in the live installer, besides the tree",
        external_references=_purl(addition.purl),
    )


def _supplier(text: str) -> Actor | SpdxNoAssertion:
    match = SUPPLIER.fullmatch(text)
    if match is None or not match[1].strip():
        return SpdxNoAssertion()
    return Actor(ActorType.ORGANIZATION, match[1].strip(), match[2])


def _references(bill: Bill) -> Iterator[ExtractedLicensingInfo]:
    """Yield what is said of licences that are none of SPDX's list (SPDX 2.3, 10)."""
    named = {name: part for part in reversed(bill.parts) for name in licences.references(part.licence)}
    for name, part in sorted(named.items()):
        words = name.removeprefix(licences.REFERENCE).replace("-", " ")
        yield ExtractedLicensingInfo(
            license_id=name,
            license_name=words,
            extracted_text=f"{words}: see the package {part.name} {part.version}, which calls it so",
        )
