"""Everything about one release line, and its JSON schema."""

import fnmatch
import json
import re
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from imagebuild.architectures.registry import BUILT, DEFAULT, guest_of
from imagebuild.config.access import AccessConfig
from imagebuild.config.fields import Model, Name, Word
from imagebuild.config.images import KickstartConfig
from imagebuild.config.publish import PublishConfig
from imagebuild.config.smoke import SmokeConfig, WaiverConfig
from imagebuild.config.tree import TreeConfig
from imagebuild.errors import UsageError
from imagebuild.formats.registry import FORMATS
from imagebuild.release_line.compose import ComposeSection
from imagebuild.release_line.images import ImageConfig
from imagebuild.release_line.installer import InstallerSection
from imagebuild.release_line.sections import OneOf
from imagebuild.smoke.storage.registry import PROFILES


class Config(Model):
    """Everything about one release line."""

    product: Name
    release: Word
    arch: Annotated[str, OneOf(BUILT)] = DEFAULT
    refs: tuple[str, ...] = Field(
        min_length=1, description="patterns of refs this line builds; * matches one path component"
    )
    tree: TreeConfig
    compose: ComposeSection | None = None
    kickstarts: dict[Word, KickstartConfig]
    images: dict[Word, ImageConfig] = Field(min_length=1)
    installer: InstallerSection | None = Field(
        default=None, description="the installer ISO; without it none is made"
    )
    storage: Annotated[str, OneOf(PROFILES)]
    smoke: SmokeConfig
    access: AccessConfig = Field(
        default=AccessConfig(), description="who gets in, who becomes root, and what listens"
    )
    waivers: tuple[WaiverConfig, ...] = Field(
        default=(), description="criteria that need not hold, by whose word, and until when"
    )
    previous: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] | None = Field(
        default=None,
        description=(
            "commits of previous releases of this ref, from each of which hosts upgrade to this one (a"
            " single one needs no list); the newest is the release before, the others are of hosts that"
            " have slept. Not given: the commit of the stable ref, the last in the output directory, or the"
            " parent"
        ),
    )

    publish: PublishConfig = Field(
        default=PublishConfig(), description="names, signatures and promotion of releases"
    )

    @field_validator("refs")
    @classmethod
    def _refs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for ref in value:
            if ref.startswith("/") or ".." in ref.split("/") or not re.fullmatch(r"[A-Za-z0-9._*/-]+", ref):
                raise ValueError(f"{ref!r} is not a pattern of refs")
        return value

    @field_validator("previous", mode="before")
    @classmethod
    def _previous(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("previous")
    @classmethod
    def _each_once(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value == ():
            raise ValueError("is empty: name the commits that hosts upgrade from, or leave it out")
        for commit in value or ():
            if value is not None and value.count(commit) > 1:
                raise ValueError(f"names {commit} twice: each release is named once")
        return value

    @model_validator(mode="after")
    def _of_this_architecture(self) -> "Config":
        asked = {f"images.{name}": image.firmware for name, image in self.images.items()}
        asked |= {"installer": self.installer.firmware} if self.installer is not None else {}
        there = guest_of(self.arch).firmware
        for key, firmwares in asked.items():
            if missing := [firmware for firmware in firmwares if firmware not in there]:
                raise ValueError(
                    f"{key}.firmware: machines of {self.arch} have no {', '.join(missing)} (they have:"
                    f" {', '.join(there)})"
                )
        for name, image in self.images.items():
            for kind in image.formats:
                if FORMATS[kind].arches and self.arch not in FORMATS[kind].arches:
                    raise ValueError(f"images.{name}.formats.{kind}: there is none for {self.arch}")
        return self

    @model_validator(mode="after")
    def _kickstarts(self) -> "Config":
        for name, image in self.images.items():
            if image.kickstart not in self.kickstarts:
                raise ValueError(
                    f"images.{name}.kickstart: there is no kickstart {image.kickstart!r} (there are:"
                    f" {', '.join(self.kickstarts)})"
                )
            base = self.images.get(image.base) if image.base else None
            if image.base and (base is None or base.base is not None or base is image):
                raise ValueError(
                    f"images.{name}.base: {image.base!r} is not another image that stands on its own"
                )
        for key in filter(
            None, (self.installer.defaults, self.installer.unattended) if self.installer else ()
        ):
            if key not in self.kickstarts:
                raise ValueError(
                    f"installer: there is no kickstart {key!r} (there are: {', '.join(self.kickstarts)})"
                )
        return self

    def builds(self, ref: str) -> bool:
        """Whether this release line builds a ref."""
        return any(_matches(ref, pattern) for pattern in self.refs)

    def stable_ref(self, ref: str) -> str:
        """Return the ref that hosts follow: Fedora's nightly refs have `updates` before the last word
        (releng, push-two-week-atomic.py).
        """
        return self.publish.ref or "/".join(word for word in ref.split("/") if word != "updates")

    def the_ref(self) -> str:
        """Return the ref when there is exactly one. Raises UsageError when it must be chosen."""
        if len(self.refs) != 1 or "*" in self.refs[0]:
            raise UsageError(
                "this configuration builds several refs",
                hint=f"choose one with --ref; the patterns are: {', '.join(self.refs)}",
            )
        return self.refs[0]


def _matches(ref: str, pattern: str) -> bool:
    words, patterns = ref.split("/"), pattern.split("/")
    return len(words) == len(patterns) and all(
        fnmatch.fnmatchcase(word, each) for word, each in zip(words, patterns, strict=True)
    )


def schema() -> str:
    """Return the JSON schema of a configuration, for editors."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"
