"""How releases are named, signed, limited and promoted."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from imagebuild.config.fields import Model, Percent, Ref, Url, Word, file_url, parsed


class SigningConfig(Model):
    """The OpenPGP key that signs CHECKSUM files and summaries: of an agent's keyring, or of a file."""

    user: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9 .,_+@<>-]+$", description="fingerprint or user id of the key")
    ]
    homedir: str | None = Field(
        default=None, description="GnuPG home directory; not given: the user's own, with its agent"
    )
    key_file: str | None = Field(
        default=None,
        description="file of the secret key, without a passphrase; a throw-away keyring takes it",
    )
    generate: bool = Field(
        default=False, description="make the key if the home directory has none: for demonstrations"
    )
    detached: bool = Field(
        default=False, description="also write a detached signature (NAME.sig) of every download"
    )

    @model_validator(mode="after")
    def _one_source(self) -> "SigningConfig":
        if self.key_file is not None and (self.homedir is not None or self.generate):
            raise ValueError("key_file cannot be combined with homedir or generate: those are for keyrings")
        if self.generate and self.homedir is None:
            raise ValueError("generate needs a homedir: no key is ever made in your own keyring")
        return self


class VariantsConfig(Model):
    """The directories of a compose: Fedora 25 … 27 had two variants, later ones have one."""

    iso: Word = "Atomic"
    images: Word = "CloudImages"


class AttestationsConfig(Model):
    """The key that signs attestations: where the downloads came from, how they were tested."""

    key: str = Field(
        description=(
            "file of a private key: PEM, P-256, no passphrase, mode 0600; its public half is published in the"
            " metadata of each release, which publish.signing signs"
        )
    )
    generate: bool = Field(default=False, description="make the key if it is not there: for demonstrations")


class AuditConfig(Model):
    """Known vulnerabilities of a release's packages, from a file that lies here."""

    advisories: str = Field(
        description=(
            "the JSON of Debian's security tracker, or OSV records: a file, a directory of them, or all.zip"
        )
    )
    hold: Literal["none", "fixed", "all"] = Field(
        default="fixed",
        description=(
            "which of them hold a release until a waiver of `vulnerability` answers for them: `fixed`, those"
            " that a newer package fixes"
        ),
    )


class GrowthConfig(Model):
    """By how much (percent of the release before) something may grow until somebody waives it; null: as much
    as it likes.
    """

    tree: Percent | None = 5
    artifacts: Percent | None = 5
    boot: Percent | None = 50
    update: Percent | None = Field(
        default=300, description="what hosts fetch that come from the release before: its static delta"
    )


class KeepConfig(Model):
    """What `imagebuild prune` leaves."""

    nightlies: int = Field(
        default=14, ge=0, description="newest nightly composes; what was promoted is always kept"
    )
    builds: int = Field(default=3, ge=1, description="newest builds whose artifacts stay in the store")
    commits: int = Field(
        default=10, ge=1, description="commits of each ref that stay in the store's repository"
    )


# a template of composes: ${product}, ${release}, ${date} (YYYYMMDD) and ${respin} may be in it
ComposeTemplate = Annotated[str, Field(pattern=r"^([A-Za-z0-9._-]|\$\{(product|release|date|respin)\})+$")]


class PublishConfig(Model):
    """How releases are named, signed, limited and promoted (as Fedora's two-week releases were:
    tests/data/fedora/naming-rules.yaml).
    """

    compose: ComposeTemplate = Field(
        default="${product}-Atomic-${release}-${date}.${respin}", description="compose id of a release"
    )
    nightly: ComposeTemplate = Field(
        default="${product}-${release}-${date}.n.${respin}", description="compose id of a nightly"
    )
    variants: VariantsConfig = VariantsConfig()
    subvariant: Word = Field(default="Atomic", description="of images.json (productmd)")
    signing: SigningConfig | None = Field(
        default=None, description="who signs; without it nothing is released"
    )
    # where a key lies changes no artifact
    attestations: AttestationsConfig | None = Field(
        default=None,
        exclude=True,
        description="attest to provenance and tests of each release, for cosign and other tools",
    )
    # what is known of a release's packages changes none of its artifacts
    audit: AuditConfig | None = Field(
        default=None,
        exclude=True,
        description="say which packages are known to be vulnerable",
    )
    other_keys: tuple[str, ...] = Field(
        default=(),
        description=(
            "files of public keys that other releases at the destination are signed with: former keys, other"
            " lines' keys"
        ),
    )
    url: Annotated[str, Field(pattern=r"^https?://[^\s'\"\\`$<>?#]*/$"), AfterValidator(parsed)] | None = (
        Field(
            default=None,
            description=(
                "where the world finds the directory of releases (with / at the end): feeds and mails need"
                " whole addresses"
            ),
        )
    )
    destination: (
        Annotated[
            str,
            BeforeValidator(file_url),
            Field(pattern=r"^[a-z][a-z0-9+.-]*://[^\s'\"\\`]*$"),
        ]
        | None
    ) = Field(default=None, description="where `imagebuild promote` puts releases")
    repo: Url | None = Field(
        default=None, description="stable repository (file://) in which promotion moves the ref"
    )
    ref: Ref | None = Field(
        default=None,
        description=(
            "stable ref, which promotion moves and installed hosts follow; not given: the built ref without"
            " `updates/` (Fedora's nightly refs have it)"
        ),
    )
    previous_major: Ref | None = Field(
        default=None,
        description=(
            "ref of the release line before, whose hosts get a static delta too, and are tested to come from"
            " its last release: as `repo` has it, or the repository of `tree.url` where that is file://"
        ),
    )
    arches: tuple[Word, ...] = Field(
        default=("x86_64",),
        min_length=1,
        description=(
            "architectures of a release, which are promoted together; where there are several, a compose"
            " holds them all"
        ),
    )
    growth: GrowthConfig = GrowthConfig()
    keep: KeepConfig = KeepConfig()

    @model_validator(mode="after")
    def _numbered(self) -> "PublishConfig":
        for name, template in (("compose", self.compose), ("nightly", self.nightly)):
            for word in ("${date}", "${respin}"):
                if template.count(word) != 1:
                    raise ValueError(f"{name}: {template!r} needs {word} exactly once")
        if self.compose == self.nightly:
            raise ValueError(
                "compose and nightly are the same: releases and nightlies must be told apart by name"
            )
        if self.repo is not None and not self.repo.startswith("file://"):
            raise ValueError("repo: a ref is moved in a repository of this machine: give file:///PATH")
        return self
