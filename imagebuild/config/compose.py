"""How a tree is composed here."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imagebuild.config.fields import Model, TreePath, Word

PackageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]+$")]


class FirstConfig(Model):
    """What the very first commit of a ref is made without; the whole tree follows it at once, so that there
    is a release to upgrade from.
    """

    packages: tuple[PackageName, ...] = Field(min_length=1)
    files: tuple[TreePath, ...] = Field(default=(), description="of `files`")


class MmdebstrapConfig(Model):
    """Compose a Debian tree with mmdebstrap."""

    composer: Literal["mmdebstrap"]
    suite: Word
    version: Word = Field(description="prefix of the commit version: 12 gives 12.1, 12.2, …")
    packages: tuple[PackageName, ...] = Field(min_length=1)
    exclude: tuple[Annotated[str, Field(pattern=r"^/[^\s,]+$")], ...] = Field(
        default=(), description="dpkg path-exclude patterns"
    )
    files: dict[TreePath, str] = Field(
        default={}, description="files laid over the tree; ${version} and ${commit_time} may stand in them"
    )
    first_without: FirstConfig | None = Field(
        default=None,
        description=(
            "for demonstrations: a new ref begins with a commit that lacks this, followed by the whole tree"
        ),
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
    cache: str | None = Field(
        default=None,
        description="directory for downloaded packages; without it every compose fetches them again",
    )
    unified_core: bool | None = Field(
        default=None,
        description=(
            "compose with --unified-core; null: when the installed rpm-ostree knows it (2018.7 and newer) and"
            " the host has SELinux's policy"
        ),
    )
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9$][A-Za-z0-9._+~${}-]*$")] | None = Field(
        default=None,
        description=(
            "version of the next commit, as 26.${date}.${respin} (YYYYMMDD, and a number from 0); null:"
            " automatic_version_prefix"
        ),
    )
    signing_user: Annotated[str, Field(pattern=r"^[A-Za-z0-9 .,_-]+ <[^<>\s]+@[^<>\s]+>$")] | None = None
    public_key: str | None = Field(
        default=None,
        description=(
            "file that gets the public signing key before the compose, for the treefile's add-files (also:"
            " STORE/compose/signing-key.asc)"
        ),
    )

    @model_validator(mode="after")
    def _consistent(self) -> "RpmOstreeConfig":
        if self.public_key is not None and self.signing_user is None:
            raise ValueError("public_key needs signing_user: nothing is signed without it")
        if self.version is not None:
            rest = self.version.replace("${date}", "20170705")
            if rest.count("${respin}") != 1 or re.search(r"[${}]", rest.replace("${respin}", "0")):
                raise ValueError(
                    "version holds ${respin} once, and no other placeholder than ${date}: commits are told"
                    " apart by it"
                )
        return self
