"""The bill of materials as CycloneDX 1.6 (JSON), written by cyclonedx-python-lib."""

from collections.abc import Iterable
from datetime import UTC, datetime

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from imagebuild.publish.bill import Addition, Bill
from imagebuild.publish.facts import DownloadFacts
from imagebuild.publish.parts import Part

# cyclonedx-property-taxonomy asks for a name space of one's own
OWN = "imagebuild"


def write(bill: Bill, tool: str) -> str:
    """Return the document; `tool` is the name and version of the program."""
    facts = bill.facts
    name, _, version = tool.partition("-")
    release = Component(
        name=facts.compose_id,
        version=facts.tree.version,
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref=f"release:{bill.name}",
        description=facts.title,
    )
    metadata = BomMetaData(component=release, timestamp=datetime.fromtimestamp(facts.created, UTC))
    metadata.tools.components.add(Component(name=name, version=version, type=ComponentType.APPLICATION))
    bom = Bom(serial_number=bill.identity, metadata=metadata)
    tree = Component(
        name=facts.ref,
        version=facts.tree.version,
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref=f"ostree:{facts.tree.commit}",
        # the name of an OSTree commit is the SHA-256 of its object
        hashes=_sha256(facts.tree.commit),
        properties=[
            Property(name=f"{OWN}:{name}", value=value)
            for name, value in (
                ("os-release:ID", bill.origin.vendor),
                ("os-release:VERSION_ID", bill.origin.version),
                ("os-release:VERSION_CODENAME", bill.origin.codename),
            )
            if value
        ],
    )
    parts = [_part(part) for part in bill.parts]
    added = {each.purl: _addition(each) for found in bill.installers.values() for each in found or ()}
    downloads = {each.path: _download(each, bill) for each in facts.downloads}
    for component in (tree, *downloads.values(), *parts, *added.values()):
        bom.components.add(component)
    bom.register_dependency(release, downloads.values())
    for path, download in downloads.items():
        mine = [added[each.purl] for each in bill.installers.get(path) or ()]
        bom.register_dependency(download, [tree, *mine])
    bom.register_dependency(tree, parts)
    return f"{JsonV1Dot6(bom).output_as_string(indent=1)}\n"


def _sha256(digest: str) -> Iterable[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest)]


def _download(download: DownloadFacts, bill: Bill) -> Component:
    unlisted = download.path in bill.installers and bill.installers[download.path] is None
    return Component(
        name=download.path,
        type=ComponentType.FILE,
        bom_ref=f"download:{download.path}",
        hashes=_sha256(download.sha256),
        properties=[
            Property(
                name=f"{OWN}:incomplete",
                value="the installer's own root file system has packages that are not listed here",
            )
        ]
        if unlisted
        else [],
    )


def _part(part: Part) -> Component:
    own = {
        "source": f"{part.source} {part.source_version}".strip(),
        "rpm:sha256header": part.header,
    }
    return Component(
        name=part.name,
        version=part.version,
        type=ComponentType.LIBRARY,
        bom_ref=part.purl,
        purl=PackageURL.from_string(part.purl),
        supplier=OrganizationalEntity(name=part.supplier) if part.supplier else None,
        licenses=[LicenseFactory().make_from_string(part.licence)] if part.licence else [],
        properties=[Property(name=f"{OWN}:{name}", value=value) for name, value in own.items() if value],
    )


def _addition(addition: Addition) -> Component:
    return Component(
        name=addition.name,
        version=addition.version,
        type=ComponentType.APPLICATION,
        bom_ref=addition.purl,
        purl=PackageURL.from_string(addition.purl),
        licenses=[LicenseFactory().make_from_string(addition.licence)],
        properties=[Property(name=f"{OWN}:where", value="in the live installer, besides the tree")],
    )
