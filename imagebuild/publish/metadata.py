"""Metadata of a release for other programs: productmd's composeinfo and images, coreos-assembler's meta.json,
an in-toto provenance.

Sources: productmd 1.51, coreos-assembler's src/v1.json, in-toto Statement v1 with the SLSA Provenance v1
predicate.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from productmd.composeinfo import ComposeInfo, Variant
from productmd.images import IMAGE_TYPE_FORMAT_MAPPING, Images
from productmd.images import Image as ProductmdImage
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuild.config.naming import short
from imagebuild.errors import BuildError
from imagebuild.formats.registry import FILE_KINDS
from imagebuild.publish.facts import Facts
from imagebuild.publish.names import ISO, OS, Names
from imagebuild.tools import temporary

NIGHTLY, PRODUCTION = "nightly", "production"
BUILD_TYPE = "https://github.com/imagebuild/imagebuild/release/v1"
STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"


# --- productmd ----------------------------------------------------------------------------------------------


def composeinfo(releases: Sequence[Facts]) -> str:
    """Return composeinfo.json of a compose with these architectures, as Fedora's have theirs: each variant
    with its architectures, and paths of each. Raises BuildError when productmd finds it wrong.
    """
    info, first = ComposeInfo(), releases[0]
    _compose(info.compose, first)
    release = info.release
    release.name, release.short, release.version, release.type, release.internal = (
        first.product,
        short(first.product),
        first.release,
        "ga",
        False,
    )
    # a variant without downloads does not exist
    for name in dict.fromkeys(variant_of(each.path) for facts in releases for each in facts.downloads):
        variant = Variant(info)
        variant.id = variant.uid = variant.name = name
        variant.type = "variant"
        variant.arches = {
            facts.arch for facts in releases for each in facts.downloads if variant_of(each.path) == name
        }
        for facts in releases:
            directory = f"{name}/{facts.arch}/{OS}"
            if any(path.startswith(f"{directory}/") for path in facts.os_tree.values()):
                variant.paths.os_tree[facts.arch] = directory
        info.variants.add(variant)
    return _dumped(info, "composeinfo.json")


def variant_of(path: str) -> str:
    """Return the variant of a download: the first directory of its path."""
    return path.partition("/")[0]


def images(releases: Sequence[Facts], subvariant: str) -> str:
    """Return images.json of a compose with these architectures. What productmd has no type for (raw.zst) is
    not in it. Raises BuildError: productmd's checks, and our own.
    """
    found = Images()
    found.header.version = "1.2"
    _compose(found.compose, releases[0])
    for facts in releases:
        _add_images(found, facts, subvariant)
    return _dumped(found, "images.json")


def _add_images(found: Images, facts: Facts, subvariant: str) -> None:
    # two images of one type are told apart by their subvariant: productmd refuses them otherwise (images.py,
    # UNIQUE_IMAGE_ATTRIBUTES)
    seen: set[tuple[str, str]] = set()
    for fact in facts.downloads:
        known = FILE_KINDS[fact.format].productmd
        if known is None:
            continue
        image = ProductmdImage(found)
        image.path, image.size, image.mtime = fact.path, fact.size, facts.created
        image.type, image.format = known
        image.arch, image.subvariant = (
            facts.arch,
            subvariant if known not in seen else f"{subvariant}-{fact.image}",
        )
        seen.add(known)
        image.disc_number = image.disc_count = 1
        image.bootable = fact.format == ISO
        image.volume_id, image.implant_md5 = fact.volume_id, fact.media_md5
        image.checksums = {"sha256": fact.sha256}
        found.add(variant_of(fact.path), facts.arch, image)


def check_images(text: str | bytes, *, compose_id: str, known: Mapping[str, tuple[int, str]]) -> list[str]:
    """Return what is wrong with an images.json, a sentence each: productmd's own checks, and those that it
    lacks.

    `known` maps a path to its size and SHA-256. productmd compares neither types with formats nor paths with
    files (productmd 1.51).
    """
    found = Images()
    try:
        found.loads(text if isinstance(text, str) else text.decode())
    except Exception as error:  # productmd raises whatever it stumbles over
        return [f"images.json: productmd does not take it: {error}"]
    problems = (
        []
        if found.compose.id == compose_id
        else [f"images.json is of the compose {found.compose.id}, not {compose_id}"]
    )
    seen: set[str] = set()
    for variant in found.images:
        for arch, each in [
            (arch, image) for arch, listing in found.images[variant].items() for image in listing
        ]:
            if each.format not in IMAGE_TYPE_FORMAT_MAPPING.get(each.type, []):
                problems.append(f"images.json: {each.path}: a {each.type} is not a {each.format}")
            if each.path in seen:
                problems.append(f"images.json lists {each.path} twice")
            seen.add(each.path)
            if each.path not in known:
                problems.append(f"images.json: {each.path} is in no CHECKSUM of this compose")
            elif known[each.path] != (each.size, each.checksums.get("sha256")):
                problems.append(f"images.json: size or checksum of {each.path} is not that of its CHECKSUM")
            if not each.path.startswith(f"{variant}/{arch}/"):
                problems.append(f"images.json: {each.path} is not below {variant}/{arch}/")
    return problems


def check_composeinfo(text: str | bytes, *, compose_id: str, product: str, release: str) -> list[str]:
    """Return what is wrong with a composeinfo.json: also that of which productmd takes anything
    (release.short).
    """
    found = ComposeInfo()
    try:
        found.loads(text if isinstance(text, str) else text.decode())
    except Exception as error:
        return [f"composeinfo.json: productmd does not take it: {error}"]
    wrong = {
        "compose.id": (found.compose.id, compose_id), "release.short": (found.release.short, short(product)),
        "release.version": (found.release.version, release), "release.name": (found.release.name, product),
    }  # fmt: skip
    return [
        f"composeinfo.json: {key} is {is_!r}, not {should!r}"
        for key, (is_, should) in wrong.items()
        if is_ != should
    ]


def arches_of(text: bytes) -> list[str]:
    """Return the architectures that a composeinfo.json names, sorted; none of one that productmd does not
    take.
    """
    found = ComposeInfo()
    try:
        found.loads(text.decode())
    except Exception:  # productmd raises whatever it stumbles over
        return []
    return sorted({arch for variant in found.variants.variants.values() for arch in variant.arches})


def _compose(compose: Any, facts: Facts) -> None:
    compose.id, compose.date, compose.respin = facts.compose_id, facts.date, facts.respin
    compose.type = NIGHTLY if facts.nightly else PRODUCTION


def _pairs(facts: Facts, names: Names) -> list[tuple[Any, Any]]:
    by_path = {each.path: each for each in facts.downloads}
    return [(download, by_path[download.path]) for download in names.downloads if download.path in by_path]


def _dumped(document: Any, name: str) -> str:
    with temporary.file(name) as file:
        try:
            document.dump(str(file))
        except (ValueError, TypeError) as error:
            raise BuildError(
                f"{name}: productmd refuses it: {error}",
                hint="check product, release and publish of the configuration",
            ) from error
        return file.read_text()


# --- coreos-assembler ---------------------------------------------------------------------------------------


class CosaArtifact(BaseModel):
    """`artifact` of coreos-assembler's v1.json."""

    model_config = ConfigDict(extra="forbid")
    path: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class CosaMeta(BaseModel):
    """What we write of coreos-assembler's v1.json: everything it requires, and what we know besides. No other
    keys are allowed there.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    buildid: str = Field(min_length=1)
    name: str = Field(min_length=1)
    ref: str = Field(min_length=1)
    summary: str = Field(min_length=1)
    ostree_commit: str = Field(alias="ostree-commit", pattern=r"^[0-9a-f]{64}$")
    ostree_timestamp: str = Field(alias="ostree-timestamp", pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    ostree_version: str = Field(alias="ostree-version", min_length=1)
    basearch: str = Field(alias="coreos-assembler.basearch", min_length=1)
    build_timestamp: str = Field(alias="coreos-assembler.build-timestamp", min_length=1)
    images: dict[str, CosaArtifact]


def cosa_meta(facts: Facts, names: Names, *, commit_object: CosaArtifact, commit_time: int) -> str:
    """Return meta.json. `images.ostree`, which the schema wants, is the commit object: its SHA-256 is the
    commit's own name.
    """
    artifacts = {"ostree": commit_object}
    for download, fact in _pairs(facts, names):
        name = FILE_KINDS[download.format].cosa
        if name is not None and name not in artifacts:
            artifacts[name] = CosaArtifact(path=fact.path, sha256=fact.sha256, size=fact.size)
    given = {
        "buildid": facts.compose_id,
        "name": facts.product,
        "ref": facts.ref,
        "summary": facts.title,
        "ostree-commit": facts.tree.commit,
        "ostree-timestamp": _time(commit_time),
        "ostree-version": facts.tree.version,
        "coreos-assembler.basearch": facts.arch,
        "coreos-assembler.build-timestamp": _time(facts.created),
        "images": artifacts,
    }
    try:
        meta = CosaMeta.model_validate(given)
    except ValidationError as error:
        raise BuildError(f"meta.json would not be coreos-assembler's: {error}") from error
    return json.dumps(meta.model_dump(by_alias=True), indent=1) + "\n"


# --- provenance ---------------------------------------------------------------------------------------------


def provenance(
    facts: Facts, *, inputs: Mapping[str, bytes], tools: Mapping[str, str], version: str, config: str
) -> str:
    """Return an in-toto statement with an SLSA provenance: from which commit, kickstarts, configuration and
    programs the downloads came.

    `inputs` maps a name to content. Raises BuildError when in-toto's own checks refuse it.
    """
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "ref": facts.ref,
                "commit": facts.tree.commit,
                "compose": facts.compose_id,
                "configuration": config,
            },
            "internalParameters": {"gate": facts.gate, "tools": dict(sorted(tools.items()))},
            "resolvedDependencies": _dependencies(facts, inputs),
        },
        "runDetails": {
            "builder": {"id": "https://github.com/imagebuild/imagebuild", "version": {"imagebuild": version}},
            "metadata": {"invocationId": facts.compose_id, "finishedOn": _time(facts.created)},
        },
    }
    document = {
        "_type": STATEMENT,
        "subject": subjects(facts),
        "predicateType": PREDICATE,
        "predicate": predicate,
    }
    problem = check_provenance(document)
    if problem is not None:
        raise BuildError(f"provenance.json: in-toto refuses it: {problem}")
    return json.dumps(document, indent=1) + "\n"


def subjects(facts: Facts) -> list[dict[str, Any]]:
    """Return what a statement about a release is about: its downloads."""
    return [{"name": fact.path, "digest": {"sha256": fact.sha256}} for fact in facts.downloads]


def _dependencies(facts: Facts, inputs: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [
        # the name of an OSTree commit is the SHA-256 of its object
        {
            "uri": f"ostree:{facts.remote}:{facts.ref}",
            "digest": {"sha256": facts.tree.commit},
            "annotations": {"version": facts.tree.version},
        },
        *(
            {"name": name, "digest": {"sha256": hashlib.sha256(data).hexdigest()}}
            for name, data in sorted(inputs.items())
        ),
    ]


def check_provenance(document: Any) -> str | None:
    """Return what in-toto finds wrong with a statement."""
    try:
        if document.get("_type") != STATEMENT or document.get("predicateType") != PREDICATE:
            return f"it is not a {STATEMENT} with {PREDICATE}"
        Statement.copy_from_pb(parsed(document)).validate()
    except Exception as error:  # protobuf's and in-toto's own kinds
        return str(error) or repr(error)
    return None


def parsed(document: Any) -> Any:
    """Return a statement as protobuf has it. Raises what protobuf raises."""
    return json_format.ParseDict(document, statement_pb2.Statement())


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
