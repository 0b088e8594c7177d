"""A release line's configuration: YAML read into frozen models; every error names file, line and key, all at once.

`${store}` in a path or URL stands for the store directory of the run. Sizes are integers in MiB, or text such as `6 GiB`.
"""

import fnmatch
import json
import os
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from imagebuild import files, lorax_variables, naming, syntaxes
from imagebuild.errors import UsageError
from imagebuild.kinds import Firmware, Login

MIB = 1024 * 1024
MAX_XZ = 9
UNITS = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}


def _mebibytes(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)\s*(MiB|GiB|TiB)", value.strip())
        if match is None:
            raise ValueError("give a size as a number of MiB or as text such as '6 GiB'")
        return int(match.group(1)) * UNITS[match.group(2)]
    return value


def _syntax(value: str) -> str:
    if syntaxes.problem(value):
        raise ValueError(f"{syntaxes.problem(value)}; there are: {', '.join(syntaxes.usable())}")
    return value


def _plain(value: str) -> str:
    if re.search(r"[\x00-\x1f\x7f/<>&\"'`$\\]", value) or value.startswith("-") or not value.strip():
        raise ValueError("must be plain text: no path separator, quotes, control or markup characters, and no '-' in front")
    return value


def _file_url(value: object) -> object:
    """Quote what a person wrote as it is: in a file:// address nothing but a path can be meant."""
    local = isinstance(value, str) and value.startswith(f"{files.FILE_URL}/") and "${" not in value and not re.search(r"[\x00-\x1f\x7f]", value)
    return files.url(files.path_of(str(value))) if local else value


def _parsed(value: str) -> str:
    """Refuse what every library that is asked for it would: half an IPv6 address, a port that is none, nobody's name."""
    parts = urlsplit(value)
    if parts.scheme != "file" and (not parts.hostname or (parts.port is not None and parts.port < 1)):
        raise ValueError("names no host")
    return value


Mebibytes = Annotated[int, BeforeValidator(_mebibytes), Field(gt=0)]
Name = Annotated[str, BeforeValidator(lambda value: _plain(value) if isinstance(value, str) else value)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Url = Annotated[str, BeforeValidator(_file_url), Field(pattern=r"^(https?://|file:///|file://\$\{store\}/)[^\s'\"\\`$]*(\$\{store\}[^\s'\"\\`$]*)?$"), AfterValidator(_parsed)]
# OSTREE_REF_REGEXP (ostree 2022.7, src/libostree/ostree-core-private.h) takes dots, too, but the name is a path below refs/
Ref = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")]
# an id of a .repo file's section (libdnf, Repo::verifyId), or a pattern of them, as lorax takes them (src/pylorax/dnfbase.py: get_matching, GLOB)
RepoPattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:*?\[][A-Za-z0-9_.:*?\[\]!-]*$")]
AbsolutePath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]*$")]
TreePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._@+-]+)*$")]


class Model(BaseModel):
    """Frozen, and strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TlsConfig(Model):
    """Files (PEM) for the server that commits are pulled from, on the build machine only: installed hosts have their own remote."""

    ca: str | None = Field(default=None, description="authorities that sign the server's certificate, in place of the system's")
    certificate: str | None = Field(default=None, description="certificate that the build machine shows to the server")
    key: str | None = Field(default=None, description="its private key, without a passphrase; not given: it stands in `certificate`, too")

    @model_validator(mode="after")
    def _pair(self) -> "TlsConfig":
        if self.key is not None and self.certificate is None:
            raise ValueError("key: there is no certificate that it is the key of")
        if self.ca is None and self.certificate is None:
            raise ValueError("name a ca, a certificate, or both; or leave tls away")
        return self


class TreeConfig(Model):
    """Where the commit comes from, who signed it, and where installed hosts look for the next one."""

    url: Url = Field(description="repository to pull the commit from")
    # how the server is reached changes no artifact and concerns nobody else: neither in keys nor in what is published
    tls: TlsConfig | None = Field(
        default=None, exclude=True, description="for pulling from `url` by the build machine; installed hosts know nothing of it"
    )
    proxy: str | None = Field(
        default=None,
        exclude=True,
        description="http://HOST:PORT, for pulling from `url` by the build machine, whatever the environment says; installed hosts know "
        "nothing of it",
    )
    gpg_keys: tuple[str, ...] = Field(default=(), description="files of public keys, one of which must have signed the commit")
    allow_unsigned: bool = Field(default=False, description="go without a signature; to be set by hand only")
    osname: Word = Field(description="stateroot of installed hosts")
    remote: Word = Field(description="name of the remote on installed hosts")
    update_url: Url = Field(description="what installed hosts upgrade from")
    update_gpg_key: AbsolutePath = Field(description="path of the public key inside the tree, for the remote of installed hosts")
    update_verify: bool = Field(default=True, description="whether installed hosts check signatures: Fedora 25's did not")
    attempts: int = Field(default=4, ge=1, le=20)
    low_speed_bytes: int = Field(default=1000, ge=0, description="bytes per second below which a transfer counts as stalled")
    low_speed_seconds: float = Field(default=60, gt=0)

    @model_validator(mode="after")
    def _signed(self) -> "TreeConfig":
        if not self.gpg_keys and not self.allow_unsigned:
            raise ValueError("gpg_keys is empty: name the keys that sign the commits, or set allow_unsigned: true")
        return self

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: str | None) -> str | None:
        if value is not None and "@" in value:
            raise ValueError("a configuration is no place for a password: leave tree.proxy away, and set https_proxy in the environment")
        # without a port libcurl would take 1080, requests 80
        if value is not None and not re.fullmatch(r"http://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}/?", value):
            raise ValueError("must be http://HOST:PORT")
        return value

    @model_validator(mode="after")
    def _reached(self) -> "TreeConfig":
        if self.tls is not None and not self.url.startswith("https://"):
            raise ValueError(f"tls: says nothing of {self.url}: only https:// has certificates")
        if self.proxy is not None and self.url.startswith("file:"):
            raise ValueError(f"proxy: says nothing of {self.url}")
        return self


PackageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]+$")]


class FirstConfig(Model):
    """What the very first commit of a ref is made without; the whole tree follows it at once, so that there is a release to upgrade from."""

    packages: tuple[PackageName, ...] = Field(min_length=1)
    files: tuple[TreePath, ...] = Field(default=(), description="of `files`")


class MmdebstrapConfig(Model):
    """Compose a Debian tree with mmdebstrap."""

    composer: Literal["mmdebstrap"]
    suite: Word
    version: Word = Field(description="prefix of the commit version: 12 gives 12.1, 12.2, …")
    packages: tuple[PackageName, ...] = Field(min_length=1)
    exclude: tuple[Annotated[str, Field(pattern=r"^/[^\s,]+$")], ...] = Field(default=(), description="dpkg path-exclude patterns")
    files: dict[TreePath, str] = Field(default={}, description="files laid over the tree; ${version} and ${commit_time} may stand in them")
    first_without: FirstConfig | None = Field(
        default=None, description="for demonstrations: a new ref begins with a commit that lacks this, followed by the whole tree"
    )
    signing_user: Annotated[str, Field(pattern=r"^[A-Za-z0-9 .,_-]+ <[^<>\s]+@[^<>\s]+>$")]

    @model_validator(mode="after")
    def _lacks_what_it_has(self) -> "MmdebstrapConfig":
        lacking = self.first_without
        for name in lacking.packages if lacking is not None else ():
            if name not in self.packages:
                raise ValueError(f"first_without.packages: {name!r} is not one of `packages`")
        for path in lacking.files if lacking is not None else ():
            if path not in self.files:
                raise ValueError(f"first_without.files: {path!r} is not one of `files`")
        return self


class RpmOstreeConfig(Model):
    """Compose a tree with `rpm-ostree compose tree`."""

    composer: Literal["rpm-ostree"]
    treefile: str = Field(description="the treefile; what it names lies beside it")
    cache: str | None = Field(default=None, description="directory for downloaded packages; without it every compose fetches them again")
    unified_core: bool | None = Field(
        default=None,
        description="compose with --unified-core; null: when the installed rpm-ostree knows it (2018.7 and newer) and the host has SELinux's policy",
    )
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9$][A-Za-z0-9._+~${}-]*$")] | None = Field(
        default=None,
        description="version of the next commit, as 26.${date}.${respin} (YYYYMMDD, and a number from 0); null: automatic_version_prefix",
    )
    signing_user: Annotated[str, Field(pattern=r"^[A-Za-z0-9 .,_-]+ <[^<>\s]+@[^<>\s]+>$")] | None = None
    public_key: str | None = Field(
        default=None,
        description="file that gets the public signing key before the compose, for the treefile's add-files (also: STORE/compose/signing-key.asc)",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "RpmOstreeConfig":
        if self.public_key is not None and self.signing_user is None:
            raise ValueError("public_key needs signing_user: nothing is signed without it")
        if self.version is not None:
            rest = self.version.replace("${date}", "20170705")
            if rest.count("${respin}") != 1 or re.search(r"[${}]", rest.replace("${respin}", "0")):
                raise ValueError("version holds ${respin} once, and no other placeholder than ${date}: commits are told apart by it")
        return self


class KickstartConfig(Model):
    """One kickstart template and the pykickstart version of the release it is for."""

    template: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*\.ks$")]
    syntax: Annotated[str, AfterValidator(_syntax), Field(json_schema_extra={"enum": [*syntaxes.usable()]})]
    values: dict[Annotated[str, Field(pattern=r"^[a-z_]+$")], str] = Field(
        default={}, description="values of the template's own placeholders"
    )


class Qcow2Config(Model):
    """How qcow2 files are written (qemu-img(1), qcow2)."""

    compat: Literal["0.10", "1.1"] = "1.1"
    compression: Literal["zlib", "zstd", "none"] = "zlib"

    @model_validator(mode="after")
    def _readable(self) -> "Qcow2Config":
        if self.compat == "0.10" and self.compression == "zstd":
            raise ValueError("zstd needs compat 1.1: readers of 0.10 know zlib only")
        return self


class CompressionConfig(Model):
    """How hard a raw disk is compressed: xz 0 … 9, zstd 1 … 19. Each step costs about half as much again."""

    level: int = Field(default=6, ge=0, le=19)


class VmdkConfig(Model):
    """A streamOptimized vmdk has no choices."""


class FormatsConfig(Model):
    """Which downloads are made of a disk."""

    qcow2: Qcow2Config | None = None
    raw_xz: CompressionConfig | None = Field(default=None, alias="raw.xz")
    raw_zst: CompressionConfig | None = Field(default=None, alias="raw.zst")
    vmdk: VmdkConfig | None = None
    vagrant_libvirt: Qcow2Config | None = Field(default=None, alias="vagrant-libvirt")
    vagrant_virtualbox: VmdkConfig | None = Field(default=None, alias="vagrant-virtualbox")

    @model_validator(mode="after")
    def _levels(self) -> "FormatsConfig":
        if self.raw_xz is not None and self.raw_xz.level > MAX_XZ:
            raise ValueError(f"raw.xz: level {self.raw_xz.level} is too high: xz knows 0 … {MAX_XZ}")
        if self.raw_zst is not None and self.raw_zst.level < 1:
            raise ValueError("raw.zst: level 0 is too low: zstd knows 1 … 19")
        return self


class ImageConfig(Model):
    """One disk and what is made of it."""

    kickstart: Word = Field(description="key of `kickstarts`")
    base: Word | None = Field(
        default=None, description="key of the image whose kickstart this one includes: its disk is changed instead of installing again"
    )
    name: Name = Field(description="file name without suffix; ${version} and ${arch} may not stand here, the release names its files")
    disk_size: Mebibytes
    firmware: tuple[Firmware, ...] = Field(default=(Firmware.BIOS, Firmware.UEFI), min_length=1)
    installed: tuple[Firmware, ...] | None = Field(
        default=None, description="as smoke.installed, for this image: firmware under which its disk is held against all criteria"
    )
    login: Login = Field(default=Login.CLOUD_INIT, description="who lets the tester in: a seed's key through cloud-init, or Vagrant's key")
    formats: FormatsConfig


class LiveConfig(Model):
    """How the live installer's squashfs is compressed: zstd 1 … 22 (15 costs thirty times what 3 does, for an eighth less).

    xz is smallest and lz4 quickest to read (emulated machines feel it); both without levels.
    """

    compression: Literal["zstd", "xz", "lz4"] = "zstd"
    level: int = Field(default=15, ge=1, le=22)


class LoraxConfig(Model):
    """What the lorax library is told (lorax(1)); `${ostree_…}` variables of our templates are filled in by imagebuild."""

    sources: tuple[Url, ...] = Field(default=(), description="package repositories (baseurl)")
    mirrors: tuple[Url, ...] = Field(default=(), description="mirror lists")
    repos: tuple[str, ...] = Field(default=(), description=".repo files")
    enable_repos: tuple[RepoPattern, ...] = Field(default=(), description="ids of `repos`, or patterns of them")
    disable_repos: tuple[RepoPattern, ...] = Field(default=(), description="likewise; they win")
    installpkgs: tuple[str, ...] = Field(default=(), description="packages for the installer itself")
    excludepkgs: tuple[str, ...] = ()
    rootfs_size: int | None = Field(default=None, ge=1, le=64, description="GiB of the root file system; not given: from the tree's size")
    rootfs_type: Literal["squashfs", "squashfs-ext4", "erofs", "erofs-ext4"] | None = None
    sharedir: str | None = Field(default=None, description="lorax's own templates; with the release's, another release's lorax can be used")
    conf_file: str = Field(default="/etc/lorax/lorax.conf", description="lorax's own configuration")
    dracut_args: tuple[str, ...] = ()
    buildarch: Word | None = None
    tmp: str = Field(default="/var/tmp", description="directory for the installation root: several GiB; what a killed run left is swept")
    proxy: str | None = None
    bugurl: str = ""
    final: bool = Field(default=True, description="a release, not a preview")
    verify: bool = Field(default=True, description="have lorax check the installation root")
    upgrade: bool = True
    skip_branding: bool = False
    ssl_verify: bool = True
    dnfplugins: tuple[str, ...] = ()
    timeout_minutes: int = Field(default=240, ge=1)
    templates: tuple[str, ...] = Field(default=(), description="more templates that run in the installer's root (absolute paths)")
    arch_templates: tuple[str, ...] = Field(
        default=(), description="more templates that run before the architecture's own (absolute paths)"
    )
    variables: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(default={}, description="for those templates")
    python: str = Field(default="/usr/bin/python3", description="interpreter that has lorax")
    python_path: tuple[str, ...] = Field(default=(), description="PYTHONPATH of it")
    path: tuple[str, ...] = Field(default=(), description="directories to look for programs in, before the system's")

    @field_validator("python_path", "path")
    @classmethod
    def _searched(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for directory in value:
            if os.pathsep in directory:
                raise ValueError(f"{directory}: is one directory each: a {os.pathsep} would part it in two")
        return value

    @field_validator("variables")
    @classmethod
    def _variables(cls, value: dict[str, str]) -> dict[str, str]:
        taken = sorted(set(value) & lorax_variables.RESERVED)
        if taken:
            raise ValueError(f"{', '.join(taken)}: lorax itself gives templates what is called that: choose another name")
        return value

    @field_validator("sources", "mirrors")
    @classmethod
    def _sources(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if "srpm" in url.lower():
                raise ValueError(f"{url}: lorax silently skips every source with `srpm` in it")
        return value


class InstallerConfig(Model):
    """The installer ISO."""

    backend: Literal["auto", "lorax", "live"] = Field(
        default="auto", description="auto: lorax when it imports and a package source is configured, otherwise live"
    )
    name: Name = Field(description="file name without suffix")
    volume_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,31}$")] = Field(
        description="label of the medium: at most 32 characters (ECMA-119, 8.4.7), and none that lorax would replace"
    )
    variant: Name = "Atomic"
    defaults: Word = Field(description="key of `kickstarts`: what an interactive installation begins with")
    unattended: Word | None = Field(default=None, description="key of `kickstarts`: put on the medium, with a boot entry of its own")
    firmware: tuple[Firmware, ...] = Field(default=(Firmware.BIOS, Firmware.UEFI), min_length=1, description="under which it is tested")
    disk_size: Mebibytes = Field(default=8192, description="of the disk that the test installs on")
    timeout: int = Field(default=60, ge=0, le=3600, description="seconds the boot menu waits")
    live: LiveConfig = LiveConfig()
    lorax: LoraxConfig = LoraxConfig()


class MessageConfig(Model):
    """A message of journal or console that is known and harmless, for now."""

    pattern: str = Field(min_length=4, description="regular expression that is searched in a line")
    why: str = Field(min_length=1)
    until: date = Field(description="the last day on which it is allowed")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return value


class WaiverConfig(Model):
    """Somebody answers for a criterion that does not hold."""

    criterion: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    artifact: str = Field(default="*", min_length=1, description="pattern of artifact names")
    firmware: Firmware | None = Field(default=None, description="under which firmware; not given: under all")
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    until: date = Field(description="the last day on which it counts")


class SmokeConfig(Model):
    """The guest that boots an artifact."""

    user: Word = Field(description="the default user that cloud-init makes")
    installed: tuple[Firmware, ...] = Field(
        default=(Firmware.UEFI, Firmware.BIOS),
        description="under which firmware the disk itself is held against the criteria while its downloads are still being compressed: "
        "under the first against all, under others against those about booting",
    )
    tries: int = Field(default=2, ge=1, le=5, description="what fails is tried that often; passing later than at once is `flaky`")
    cores: int | None = Field(default=None, ge=1, le=64, description="processors; not given: 2 under KVM, 1 under emulation")
    cpu: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*(,[A-Za-z0-9.+-][A-Za-z0-9._+=-]*)*$")] | None = Field(
        default=None, description="QEMU's -cpu; not given: the host's under KVM, the cheapest on which the tree can run under emulation"
    )
    memory: Mebibytes = 2048
    failed_units_allowed: dict[str, str] = Field(default={}, description="unit -> why it may fail")
    messages_allowed: tuple[MessageConfig, ...] = Field(default=(), description="messages of journal and console that are known")


class SigningConfig(Model):
    """The OpenPGP key that signs CHECKSUM files and summaries: of an agent's keyring, or of a file."""

    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9 .,_+@<>-]+$", description="fingerprint or user id of the key")]
    homedir: str | None = Field(default=None, description="GnuPG home directory; not given: the user's own, with its agent")
    key_file: str | None = Field(default=None, description="file of the secret key, without a passphrase; a throw-away keyring takes it")
    generate: bool = Field(default=False, description="make the key if the home directory has none: for demonstrations")
    detached: bool = Field(default=False, description="also write a detached signature (NAME.sig) of every download")

    @model_validator(mode="after")
    def _one_source(self) -> "SigningConfig":
        if self.key_file is not None and (self.homedir is not None or self.generate):
            raise ValueError("key_file stands alone: homedir and generate are for keyrings")
        if self.generate and self.homedir is None:
            raise ValueError("generate needs a homedir: no key is ever made in your own keyring")
        return self


class VariantsConfig(Model):
    """The directories of a compose: Fedora 25 … 27 had two variants, later ones have one."""

    iso: Word = "Atomic"
    images: Word = "CloudImages"


Percent = Annotated[float, Field(ge=0, le=1000)]


class GrowthConfig(Model):
    """By how much (percent of the release before) something may grow until somebody waives it; null: as much as it likes."""

    tree: Percent | None = 5
    artifacts: Percent | None = 5
    boot: Percent | None = 50


class KeepConfig(Model):
    """What `imagebuild prune` leaves."""

    nightlies: int = Field(default=14, ge=0, description="newest nightly composes; what was promoted is always kept")
    builds: int = Field(default=3, ge=1, description="newest builds whose artifacts stay in the store")
    commits: int = Field(default=10, ge=1, description="commits of each ref that stay in the store's repository")


# a template of composes: ${product}, ${release}, ${date} (YYYYMMDD) and ${respin} may stand in it
ComposeTemplate = Annotated[str, Field(pattern=r"^([A-Za-z0-9._-]|\$\{(product|release|date|respin)\})+$")]


class PublishConfig(Model):
    """How releases are named, signed, limited and promoted (as Fedora's two-week releases were: tests/data/fedora/naming-rules.yaml)."""

    compose: ComposeTemplate = Field(default="${product}-Atomic-${release}-${date}.${respin}", description="compose id of a release")
    nightly: ComposeTemplate = Field(default="${product}-${release}-${date}.n.${respin}", description="compose id of a nightly")
    variants: VariantsConfig = VariantsConfig()
    subvariant: Word = Field(default="Atomic", description="of images.json (productmd)")
    signing: SigningConfig | None = Field(default=None, description="who signs; without it nothing is released")
    other_keys: tuple[str, ...] = Field(
        default=(),
        description="files of public keys that other releases at the destination are signed with: former keys, other lines' keys",
    )
    url: Annotated[str, Field(pattern=r"^https?://[^\s'\"\\`$<>?#]*/$"), AfterValidator(_parsed)] | None = Field(
        default=None,
        description="where the world finds the directory of releases (with / at the end): feeds and mails need whole addresses",
    )
    destination: Annotated[str, BeforeValidator(_file_url), Field(pattern=r"^(file:///|rsync://|ssh://|s3://|file://\$\{store\}/)[^\s'\"\\`]*$")] | None = Field(
        default=None, description="where `imagebuild promote` puts releases"
    )
    repo: Url | None = Field(default=None, description="stable repository (file://) in which promotion moves the ref")
    ref: Ref | None = Field(
        default=None,
        description="stable ref, which promotion moves and installed hosts follow; not given: the built ref without `updates/` (Fedora's "
        "nightly refs have it)",
    )
    previous_major: Ref | None = Field(
        default=None, description="ref of the release line before, whose hosts get a static delta too"
    )
    arches: tuple[Word, ...] = Field(default=("x86_64",), min_length=1, description="architectures that are promoted together")
    growth: GrowthConfig = GrowthConfig()
    keep: KeepConfig = KeepConfig()

    @field_validator("destination")
    @classmethod
    def _destination(cls, value: str | None) -> str | None:
        if value is not None and "${" not in value and not naming.is_destination(value):
            raise ValueError(f"is no destination: {naming.DESTINATIONS}")
        return value

    @model_validator(mode="after")
    def _numbered(self) -> "PublishConfig":
        for name, template in (("compose", self.compose), ("nightly", self.nightly)):
            for word in ("${date}", "${respin}"):
                if template.count(word) != 1:
                    raise ValueError(f"{name}: {template!r} needs {word} exactly once")
        if self.compose == self.nightly:
            raise ValueError("compose and nightly are the same: releases and nightlies must be told apart by name")
        if self.repo is not None and not self.repo.startswith("file://"):
            raise ValueError("repo: a ref is moved in a repository of this host: give file:///PATH")
        return self


class Config(Model):
    """Everything about one release line."""

    product: Name
    release: Word
    arch: Literal["x86_64"] = "x86_64"
    refs: tuple[str, ...] = Field(min_length=1, description="patterns of refs this line builds; * matches one path component")
    tree: TreeConfig
    compose: Annotated[MmdebstrapConfig | RpmOstreeConfig, Field(discriminator="composer")] | None = None
    kickstarts: dict[Word, KickstartConfig]
    images: dict[Word, ImageConfig] = Field(min_length=1)
    installer: InstallerConfig | None = Field(default=None, description="the installer ISO; without it none is made")
    storage: Literal["podman-overlay", "overlay2-volume", "overlay2-root", "devicemapper"]
    smoke: SmokeConfig
    waivers: tuple[WaiverConfig, ...] = Field(default=(), description="criteria that need not hold, by whose word, and until when")
    previous: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None,
        description="commit of the previous release, from which hosts upgrade; not given: that of the stable ref, the last in the output directory, or the parent",
    )

    publish: PublishConfig = Field(default=PublishConfig(), description="names, signatures and promotion of releases")

    @field_validator("refs")
    @classmethod
    def _refs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for ref in value:
            if ref.startswith("/") or ".." in ref.split("/") or not re.fullmatch(r"[A-Za-z0-9._*/-]+", ref):
                raise ValueError(f"{ref!r} is not a pattern of refs")
        return value

    @model_validator(mode="after")
    def _kickstarts(self) -> "Config":
        for name, image in self.images.items():
            if image.kickstart not in self.kickstarts:
                raise ValueError(
                    f"images.{name}.kickstart: there is no kickstart {image.kickstart!r} (there are: {', '.join(self.kickstarts)})"
                )
            base = self.images.get(image.base) if image.base else None
            if image.base and (base is None or base.base is not None or base is image):
                raise ValueError(f"images.{name}.base: {image.base!r} is no other image that stands on its own")
        for key in filter(None, (self.installer.defaults, self.installer.unattended) if self.installer else ()):
            if key not in self.kickstarts:
                raise ValueError(f"installer: there is no kickstart {key!r} (there are: {', '.join(self.kickstarts)})")
        return self

    def builds(self, ref: str) -> bool:
        """Whether this release line builds a ref."""
        return any(_matches(ref, pattern) for pattern in self.refs)

    def stable_ref(self, ref: str) -> str:
        """Return the ref that hosts follow: Fedora's nightly refs have `updates` before the last word (releng, push-two-week-atomic.py)."""
        return self.publish.ref or "/".join(word for word in ref.split("/") if word != "updates")

    def the_ref(self) -> str:
        """Return the ref when there is exactly one. Raises UsageError when it must be chosen."""
        if len(self.refs) != 1 or "*" in self.refs[0]:
            raise UsageError(
                "this configuration builds several refs", hint=f"choose one with --ref; the patterns are: {', '.join(self.refs)}"
            )
        return self.refs[0]


def _matches(ref: str, pattern: str) -> bool:
    words, patterns = ref.split("/"), pattern.split("/")
    return len(words) == len(patterns) and all(fnmatch.fnmatchcase(word, each) for word, each in zip(words, patterns, strict=True))


def schema() -> str:
    """Return the JSON schema of a configuration, for editors."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"


# --- reading ----------------------------------------------------------------------------------------------------------


def load(file: Path, store: Path) -> Config:
    """Read a configuration. Raises UsageError with every error in it, one line each: file, line, key, what is wrong."""
    if re.search(r"[\x00-\x1f\x7f]", str(store.absolute())):
        raise UsageError(f"the path of the store has control characters: {str(store.absolute())!r}", hint="give --store another directory")
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{mark.line + 1}: " if mark else ""
        raise UsageError(f"{file}:{line} not YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{file}:1: a configuration is a mapping of keys")
    problems = [f"{file}:{line}: {key}: given twice" for key, line in _repeated(node, "")]
    data = _substitute(yaml.safe_load(text), str(store.absolute()))
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        problems += [_problem(file, node, dict(each)) for each in error.errors()]
    else:
        problems += [f"{file}:{_line(node, [*key.split('.')])}: {key}: {says}" for key, says in naming.check(_names(config))]
    if problems:
        raise UsageError("\n".join(problems), hint="`imagebuild config --schema` prints what may stand there")
    return config


def _names(config: Config) -> naming.Line:
    """Return what the names of a release line are made of, each with the key that says it."""
    installer, publish = config.installer, config.publish
    names = {f"images.{key}.name": image.name for key, image in config.images.items()}
    formats = {f"images.{key}.name": frozenset(image.formats.model_dump(by_alias=True, exclude_none=True)) for key, image in config.images.items()}
    if installer is not None:
        names["installer.name"], formats["installer.name"] = installer.name, frozenset({"iso"})
    return naming.Line(
        product=config.product, release=config.release, arch=config.arch, arches=publish.arches, compose=publish.compose, nightly=publish.nightly,
        variants={"publish.variants.iso": publish.variants.iso, "publish.variants.images": publish.variants.images}, names=names, formats=formats,
        installer_variant=installer.variant if installer is not None else None,
    )  # fmt: skip


def _substitute(value: Any, store: str) -> Any:
    if isinstance(value, dict):
        return {key: (_substitute(each, store) if key != "files" else each) for key, each in value.items()}
    if isinstance(value, list):
        return [_substitute(each, store) for each in value]
    if not isinstance(value, str):
        return value
    # in an address the path is quoted, and unquoted where it becomes a path again (files.path_of)
    return value.replace("${store}", files.url(Path(store)).removeprefix(files.FILE_URL) if re.match(r"[a-z0-9]+://", value) else store)


def _repeated(node: yaml.Node, path: str) -> Iterator[tuple[str, int]]:
    seen: set[str] = set()
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        name = f"{path}.{key.value}".lstrip(".")
        if key.value in seen:
            yield name, key.start_mark.line + 1
        seen.add(key.value)
        yield from _repeated(value, name)


def _problem(file: Path, node: yaml.Node, error: dict[str, Any]) -> str:
    location = [part for part in error["loc"] if part not in ("mmdebstrap", "rpm-ostree")]
    if location and location[-1] == "[key]":
        location.pop()
    line = _line(node, location)
    key = ".".join(str(part) for part in location) or "(the whole file)"
    text = {"extra_forbidden": "unknown key", "missing": "is missing"}.get(error["type"], error["msg"].removeprefix("Value error, "))
    given = error.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float) and error["type"] not in ("extra_forbidden", "missing") else ""
    # who wrote a password into an address does not want to read it in a log
    shown = re.sub(r"//[^/@\s]*@", "//…@", shown)
    return f"{file}:{line}: {key}: {text}{shown}"


def _line(node: yaml.Node, location: list[str | int]) -> int:
    """Return the line of the key, or of the deepest mapping on the way that exists."""
    line = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


# --- finding ----------------------------------------------------------------------------------------------------------


def shared_directory(name: str) -> Path:
    """Return one of the product's data directories (configs, kickstarts, templates), in a checkout or installed."""
    package = Path(__file__).parent
    installed = package / "share" / name
    return installed if installed.is_dir() else package.parent / name


def find(ref: str, store: Path) -> tuple[Path, Config]:
    """Return the configuration whose pattern matches the ref. Raises UsageError: none, or more than one."""
    loaded = [(file, load(file, store)) for file in sorted(shared_directory("configs").glob("*.yaml"))]
    found = [(file, config) for file, config in loaded if config.builds(ref)]
    if not found:
        known = [pattern for _, config in loaded for pattern in config.refs]
        raise UsageError(f"no configuration builds the ref {ref}", hint=f"the patterns are: {', '.join(known)}; or give --config FILE")
    if len(found) > 1:
        raise UsageError(f"several configurations build {ref}: {', '.join(str(file) for file, _ in found)}", hint="give --config FILE")
    return found[0]


def source_date_epoch() -> int | None:
    """Return SOURCE_DATE_EPOCH (reproducible-builds.org): the time that everything made is given. None: the commit's."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text and not re.fullmatch(r"\d{1,12}", text):
        raise UsageError(f"SOURCE_DATE_EPOCH={text!r} is no number of seconds", hint="unset it: the commit's own time is used then")
    return int(text) if text else None


def cache_directory() -> Path:
    """Return where expensive inputs are kept between checkouts: the XDG cache directory of the user."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "imagebuild"
