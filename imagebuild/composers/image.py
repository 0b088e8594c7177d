"""Compose from a container image of a bootable system: its layers become the next commit of a ref.

An image is known by its digest: the same one is the same tree, and nothing is done when the newest commit
was made of it. skopeo fetches it (skopeo-copy(1), skopeo-inspect(1) of 1.9.3); whose signature it must carry
is said by a policy (containers-policy.json(5)), or a cosign key.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from imagebuild import steplog
from imagebuild.architectures.registry import oci_name
from imagebuild.composers.composer import Composed, Composer, ComposerConfig, Job, sign_history
from imagebuild.config.fields import AbsolutePath
from imagebuild.errors import BuildError
from imagebuild.formats import flattened, oci_layout
from imagebuild.tools import command, gpg, temporary

if TYPE_CHECKING:
    from imagebuild.tools.ostree.repository import Repo

# containers-transports(5)
IMAGE = re.compile(r"(oci:[^\s:@]+(:[\w.-]+)?|docker://[\w./:-]+(@sha256:[0-9a-f]{64})?)")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*")
# OCI Image Format Specification 1.0.2, annotations.md, "Pre-Defined Annotation Keys"
LABEL = "org.opencontainers.image.version"
# what a commit says of the image that it was made of
MADE_OF = "imagebuild.image"
ATTEMPTS, LIMIT = "3", "60m"


class ImageConfig(ComposerConfig):
    """Compose from a container image of a bootable system."""

    composer: Literal["image"]
    image: Annotated[str, Field(pattern=rf"^{IMAGE.pattern}$")] = Field(
        description=(
            "oci:DIRECTORY[:TAG] (an OCI layout), or docker://REGISTRY/NAME, with :TAG or better @sha256:…"
        )
    )
    version: Annotated[str, Field(pattern=rf"^{VERSION.pattern}$")] | None = Field(
        default=None,
        description=f"prefix of the commit version: 42 gives 42.1, 42.2, …; null: the image's label {LABEL}",
    )
    policy: AbsolutePath | None = Field(
        default=None, description="file (containers-policy.json(5)) that says whose images are taken"
    )
    key: AbsolutePath | None = Field(
        default=None,
        description="file (PEM) of the cosign key that must have signed the image",
    )
    allow_unsigned: bool = Field(default=False, description="take it whoever made it; to be set by hand only")
    certificates: AbsolutePath | None = Field(
        default=None, description="directory of the registry's certificates (containers-certs.d(5))"
    )
    signing_user: Annotated[str, Field(pattern=r"^[A-Za-z0-9 .,_-]+ <[^<>\s]+@[^<>\s]+>$")]

    @model_validator(mode="after")
    def _signed(self) -> ImageConfig:
        if (self.policy is not None) + (self.key is not None) + self.allow_unsigned != 1:
            raise ValueError("name whose images are taken: one of key, policy, or allow_unsigned: true")
        if self.key is not None and not self.image.startswith("docker:"):
            raise ValueError("key: only a registry has signatures beside an image; use policy, or docker://")
        return self


def compose(job: Job, spec: ImageConfig) -> Composed:
    """Make the next commit of the ref of the image, signed with the key in `directory/gnupg`, unless the
    newest one was made of it. The public key is left in `directory/signing-key.asc`, and in the tree.

    Raises BuildError for an image that cannot be had, whose signature is missing, or that is no bootable
    system: MissingToolError without skopeo.
    """
    # a configuration is read where libostree is not there
    from imagebuild.tools.ostree.repository import Repo  # noqa: PLC0415

    job.directory.mkdir(parents=True, exist_ok=True)
    repo = Repo.ensure(job.directory / "repo")
    with gpg.keyring(job.directory / "gnupg") as homedir, temporary.directory("image") as work:
        key = gpg.ensure_key(homedir, spec.signing_user)
        gpg.export_key(homedir, key, job.directory / "signing-key.asc")
        composed = _commit(repo, job, spec, work)
        sign_history(repo, composed.commit, key, homedir)
        repo.update_summary()
    return composed


def _commit(repo: Repo, job: Job, spec: ImageConfig, work: Path) -> Composed:
    digest = _digest(spec, job.arch)
    parent = repo.refs().get(job.ref)
    known = repo.metadata(parent) if parent is not None else {}
    before = str(known["version"]) if "version" in known else None
    if parent is not None and before is not None and known.get(MADE_OF) == digest:
        return Composed(repo=repo.path, ref=job.ref, commit=parent, version=before, new=False)
    image = _fetched(spec, digest, job.arch, work)
    _refuse_other(image, job.arch)
    tar = work / "tree.tar"
    _check_bootable(flattened.flatten(image.layers, tar))
    staged = repo.commit_tree(tar, [_own_files(work / "own", job)])
    version = _version(spec, image, before)
    created = _created(image)
    commit = repo.commit(
        staged,
        job.ref,
        parent=parent,
        metadata={"version": version, MADE_OF: digest},
        subject=f"{job.ref} {version}",
        # upgrades refuse a commit that is older than its parent (ostree-sysroot-upgrader.c)
        timestamp=max(created, repo.timestamp(parent) + 1) if parent is not None else created,
    )
    return Composed(repo=repo.path, ref=job.ref, commit=commit, version=version, new=True)


def _own_files(directory: Path, job: Job) -> Path:
    """Make a directory with what is laid over the tree: the key with which hosts check the next commit."""
    place = job.tree.update_gpg_key.lstrip("/")
    file = directory / (place.replace("etc/", "usr/etc/", 1) if place.startswith("etc/") else place)
    file.parent.mkdir(parents=True)
    file.write_bytes((job.directory / "signing-key.asc").read_bytes())
    return directory


# --- where it comes from ------------------------------------------------------------------------------------


def _digest(spec: ImageConfig, arch: str) -> str:
    """Return the digest of the image: the one that is named, or what the tag points at now."""
    named = spec.image.rpartition("@")[2]
    if DIGEST.fullmatch(named):
        return named
    answer = _skopeo("inspect", *_certificates(spec, ""), "--format={{.Digest}}", spec.image, arch=arch)
    digest = answer.strip()
    if not DIGEST.fullmatch(digest):
        raise BuildError(f"skopeo says no digest of {spec.image}: {digest[:80]!r}", hint="see the log")
    steplog.note(f"{spec.image} is {digest}")
    return digest


def _fetched(spec: ImageConfig, digest: str, arch: str, work: Path) -> oci_layout.Image:
    source = spec.image
    if source.startswith("docker:"):
        repository = re.sub(r"(@sha256:[0-9a-f]{64}|:[\w.-]+)$", "", source.removeprefix("docker://"))
        source = f"docker://{repository}@{digest}"
    place = work / "layout"
    _skopeo("copy", *_certificates(spec, "src-"), source, f"oci:{place}:image", arch=arch,
            policy=_policy(spec, work))  # fmt: skip
    found = {str(file.relative_to(place)): file for file in place.rglob("*") if file.is_file()}
    try:
        return oci_layout.read(found)
    except BuildError as error:
        raise BuildError(f"{spec.image} cannot be used: {error.message}", hint=error.hint) from error


def _certificates(spec: ImageConfig, side: str) -> list[str]:
    return [f"--{side}cert-dir={spec.certificates}"] if spec.certificates is not None else []


def _policy(spec: ImageConfig, work: Path) -> list[str]:
    """Return the options that say whose images are taken."""
    if spec.allow_unsigned:
        return ["--insecure-policy"]
    if spec.policy is not None:
        return [f"--policy={spec.policy}"]
    signed = {
        "type": "sigstoreSigned",
        "keyPath": spec.key,
        "signedIdentity": {"type": "matchRepository"},
    }
    policy, places = work / "policy.json", work / "registries.d"
    policy.write_text(json.dumps({"default": [signed]}))
    places.mkdir()
    # containers-registries.d(5)
    (places / "default.yaml").write_text("default-docker:\n  use-sigstore-attachments: true\n")
    return [f"--policy={policy}", f"--registries.d={places}"]


def _skopeo(verb: str, *argv: str, arch: str, policy: list[str] | None = None) -> str:
    overridden = [f"--override-arch={oci_name(arch)}", "--override-os=linux", f"--command-timeout={LIMIT}"]
    options = [*overridden, *(policy or [])]
    try:
        return command.run(["skopeo", *options, verb, f"--retry-times={ATTEMPTS}", *argv])
    except command.CommandError as error:
        raise BuildError(
            f"compose.image cannot be had: {error.message}",
            hint="check its name, the registry's log-in (skopeo login), and whose signature it must have",
        ) from error


# --- what it is ---------------------------------------------------------------------------------------------


def _refuse_other(image: oci_layout.Image, arch: str) -> None:
    found = image.config.get("architecture")
    if found != oci_name(arch):
        raise BuildError(
            f"the image is for {found!r}, and the configuration says {arch}",
            hint="correct `arch`, or the image",
        )


def _check_bootable(tree: flattened.Flattened) -> None:
    kernels, whole = flattened.kernels(tree)
    if len(kernels) != 1:
        raise BuildError(
            f"the image has {len(kernels)} kernels in /usr/lib/modules ({', '.join(kernels[:4]) or 'none'}),"
            " and a host needs one",
            hint="install one kernel in the image, and remove the others",
        )
    if not whole:
        raise BuildError(
            f"the image's kernel {kernels[0]} has no initramfs.img beside its vmlinuz",
            hint="run dracut when the image is built",
        )


def _version(spec: ImageConfig, image: oci_layout.Image, before: str | None) -> str:
    if spec.version is not None:
        prefix, _, number = (before or "").rpartition(".")
        counted = int(number) + 1 if prefix == spec.version and number.isdigit() else 1
        return f"{spec.version}.{counted}"
    label = _labels(image).get(LABEL)
    if not isinstance(label, str) or not VERSION.fullmatch(label):
        raise BuildError(
            f"the image has no usable label {LABEL} ({str(label)[:80]!r})",
            hint="give it one, or set compose.version",
        )
    if label == before:
        raise BuildError(f"another image has the version {label} already", hint=f"count its label {LABEL} up")
    return label


def _labels(image: oci_layout.Image) -> dict[str, Any]:
    config = image.config.get("config")
    labels = config.get("Labels") if isinstance(config, dict) else None
    return labels if isinstance(labels, dict) else {}


def _created(image: oci_layout.Image) -> int:
    """Return when it was made (RFC 3339), in seconds; 0 when it does not say."""
    try:
        made = datetime.fromisoformat(str(image.config.get("created", "")))
        return max(0, int(made.astimezone(UTC).timestamp()))
    except (ValueError, OverflowError):
        return 0


IMAGE_COMPOSER = Composer(name="image", options=ImageConfig, compose=compose, tools=("skopeo", "gpg"))
