"""What is read of releases, of mirrors and of commits: `verify` believes none of it before it was checked."""

import json
from pathlib import Path
from typing import Any

from imagebuild.destinations.local import Directory
from imagebuild.errors import BuildError
from imagebuild.publish import description_check, facts, metadata, os_tree, packages, page_check, pointers
from imagebuild.tools import checksum
from imagebuild.tools.ostree import binding, server_damage, signatures
from imagebuild.tools.ostree.library import GLib
from tests.fuzz.bench import Reader
from tests.fuzz.cases import changed, documents

DIGEST = "ab" * 32
CHECKSUM = f"# a/b.iso: 12 bytes\nSHA256 (a/b.iso) = {DIGEST}\n# c: 3 bytes\nSHA256 (c) = {DIGEST}\n".encode()
TREE = {"commit": DIGEST, "version": "12.1", "kernel": "6.1", "size": 1, "files": 2}
DOWNLOAD = {
    "path": "Images/a.qcow2",
    "image": "a",
    "format": "qcow2",
    "size": 1,
    "sha256": DIGEST,
    "boot": {"uefi": 1.5},
}
FACTS: dict[str, Any] = {
    "compose_id": "Debian-12-20261112.n.0",
    "date": "20261112",
    "respin": 0,
    "nightly": True,
    "product": "Debian",
    "release": "12",
    "title": "t",
    "ref": "debian/12",
    "remote": "r",
    "arch": "x86_64",
    "host_kind": "ostree",
    "created": 1,
    "gate": "g",
    "tree": TREE,
    "previous": TREE,
    "updates": [{"commit": DIGEST, "version": "1"}],
    "downloads": [DOWNLOAD],
    "os_tree": {"kernel": "a"},
    "counts": {"passed": 1},
}
HEADER = {"version": "1.2", "type": "productmd.images"}
COMPOSE = {"id": "Debian-12-20261112.n.0", "date": "20261112", "respin": 0, "type": "nightly"}
IMAGE = {
    "arch": "x86_64",
    "bootable": True,
    "checksums": {"sha256": DIGEST},
    "disc_count": 1,
    "disc_number": 1,
    "format": "qcow2",
    "implant_md5": None,
    "mtime": 1,
    "path": "Images/a.qcow2",
    "size": 1,
    "subvariant": "A",
    "type": "qcow2",
    "volume_id": None,
    "unified": False,
    "additional_variants": [],
}
IMAGES = {"header": HEADER, "payload": {"compose": COMPOSE, "images": {"V": {"x86_64": [IMAGE]}}}}
VARIANT = {"arches": ["x86_64"], "id": "V", "name": "V", "paths": {}, "type": "variant", "uid": "V"}
COMPOSEINFO = {
    "header": HEADER | {"type": "productmd.composeinfo"},
    "payload": {
        "compose": COMPOSE,
        "release": {"name": "Debian", "short": "D", "version": "12", "type": "ga", "internal": False},
        "variants": {"V": VARIANT},
    },
}
PROVENANCE = {
    "_type": metadata.STATEMENT,
    "predicateType": metadata.PREDICATE,
    "predicate": {"buildDefinition": {}},
    "subject": [{"name": "a", "digest": {"sha256": DIGEST}}],
}
TREEINFO = f"""[header]
type = productmd.treeinfo
version = 1.2
[release]
name = Debian
short = Debian
version = 12
[tree]
arch = x86_64
build_timestamp = 1
platforms = x86_64
variants =
[checksums]
images/a = sha256:{DIGEST}
[images-x86_64]
kernel = images/a
""".encode()
PAGE = f"""<!DOCTYPE html><html><head><meta name="compose" content="x"></head><body id="a">
<a href="#a">a</a><a href="Images/D-CHECKSUM">D-CHECKSUM</a>
<table><tr data-path="Images/a.qcow2" data-sha256="{DIGEST}"><td><a href="Images/a.qcow2">a.qcow2</a>
{DIGEST}</td></tr></table> <img src="//[::1]/x"><![CDATA[x]]><?pi?><!-- x --></body></html>""".encode()
DPKG = b"""Package: a
Status: install ok installed
Architecture: amd64
Version: 1:2.0~rc1-3

Package: a
status: install ok installed
Architecture: amd64
Version: 1.0
Description: x
 y
"""


def _commit(**said: GLib.Variant) -> bytes:
    made = GLib.Variant(
        "(a{sv}aya(say)sstayay)", (said, [], [], "subject", "body", 1, b"\1" * 32, b"\2" * 32)
    )
    return bytes(made.get_data_as_bytes().get_data())


COMMIT = _commit(
    version=GLib.Variant("s", "12.1"),
    **{binding.REFS: GLib.Variant("as", ["a"]), binding.COLLECTION: GLib.Variant("s", "c")},
)
DETACHED = bytes(
    GLib.Variant("a{sv}", {"ostree.gpgsigs": GLib.Variant("aay", [b"x", b"y"])})
    .get_data_as_bytes()
    .get_data()
)


def _read_commit(data: bytes, _place: Path) -> object:
    signatures.signatures(data)
    found: list[object] = [binding.commit_version(data)]
    for read in (binding.binding_of, binding.parent_of, binding.commit_timestamp):
        try:
            found.append(read(data))
        except BuildError as error:
            found.append(error.message)
    return found


def _names(data: bytes, place: Path) -> object:
    (place / pointers.RELEASES).write_bytes(data)
    return pointers.names_listed(Directory(place))


def _facts(data: bytes, _place: Path) -> object:
    known = facts.parse(data, what="x")
    return known.layout, known.older


def _page(data: bytes, _place: Path) -> object:
    downloads = [facts.DownloadFacts.model_validate(DOWNLOAD)]
    return page_check.problems(
        data.decode("utf-8", "replace"),
        compose_id="x",
        listed=["Images/a.qcow2"],
        manifest="Images/D-CHECKSUM",
        downloads=downloads,
    )


def _packages(data: bytes, _place: Path) -> object:
    found = packages._dpkg(data.decode("utf-8-sig", "replace"))
    return packages._collected("dpkg", found), packages._collected("rpm", found)


def _pkglist(data: bytes, _place: Path) -> object:
    try:
        rows = json.loads(data)
    except (ValueError, RecursionError):
        return None
    listed = (
        [tuple(row) if isinstance(row, list) else row for row in rows] if isinstance(rows, list) else rows
    )
    return packages._collected("rpm", packages._pkglist(listed))


READERS = (
    Reader(
        name="CHECKSUM",
        read=lambda data, _: checksum.entries_of(data, what="x"),
        contents=changed([CHECKSUM]),
    ),
    Reader(name="release.json", read=_facts, contents=documents([FACTS])),
    Reader(
        name="images.json",
        read=lambda data, _: metadata.check_images(data, compose_id="x", known={}),
        contents=documents([IMAGES]),
    ),
    Reader(
        name="composeinfo.json",
        read=lambda data, _: (
            metadata.check_composeinfo(data, compose_id="x", product="D", release="1"),
            metadata.arches_of(data),
        ),
        contents=documents([COMPOSEINFO]),
    ),
    Reader(
        name="provenance.json",
        read=lambda data, _: description_check._provenance_problem(data),
        contents=documents([PROVENANCE]),
    ),
    Reader(
        name=".treeinfo",
        read=lambda data, _: os_tree.problems(
            data.decode("utf-8", "replace"), "V/x86_64/os", {}, product="Debian", release="12", arch="x86_64"
        ),
        contents=changed([TREEINFO]),
    ),
    Reader(name="page", read=_page, contents=changed([PAGE])),
    Reader(name="releases.json", read=_names, contents=documents([["Debian-12-20261112.n.0", "b"]])),
    Reader(name="commit", read=_read_commit, contents=changed([COMMIT, DETACHED])),
    Reader(
        name="commit, its children",
        read=lambda data, _: server_damage._children(4, data),
        contents=changed([COMMIT]),
    ),
    Reader(name="package list of dpkg", read=_packages, contents=changed([DPKG])),
    Reader(
        name="package list in a commit",
        read=_pkglist,
        contents=documents([[["a", "0", "1", "2", "noarch"], ["a", "1", "1~x", "2^y", "noarch"]]]),
    ),
)
