"""What a configuration says to lorax."""

import os
from typing import Annotated, Literal

from pydantic import Field, field_validator

from imagebuild.config.fields import Model, RepoPattern, Url, Word
from imagebuild.installers.lorax import variables


class LoraxConfig(Model):
    """What the lorax library is told (lorax(1)); `${ostree_…}` variables of our templates are filled in by
    imagebuild.
    """

    sources: tuple[Url, ...] = Field(default=(), description="package repositories (baseurl)")
    mirrors: tuple[Url, ...] = Field(default=(), description="mirror lists")
    repos: tuple[str, ...] = Field(default=(), description=".repo files")
    enable_repos: tuple[RepoPattern, ...] = Field(
        default=(), description="ids of `repos`, or patterns of them"
    )
    disable_repos: tuple[RepoPattern, ...] = Field(default=(), description="likewise; they win")
    installpkgs: tuple[str, ...] = Field(default=(), description="packages for the installer itself")
    excludepkgs: tuple[str, ...] = ()
    rootfs_size: int | None = Field(
        default=None, ge=1, le=64, description="GiB of the root file system; not given: from the tree's size"
    )
    rootfs_type: Literal["squashfs", "squashfs-ext4", "erofs", "erofs-ext4"] | None = None
    sharedir: str | None = Field(
        default=None,
        description="lorax's own templates; with the release's, another release's lorax can be used",
    )
    conf_file: str = Field(default="/etc/lorax/lorax.conf", description="lorax's own configuration")
    dracut_args: tuple[str, ...] = ()
    buildarch: Word | None = None
    tmp: str = Field(
        default="/var/tmp",
        description="directory for the installation root: several GiB; what a killed run left is swept",
    )
    proxy: str | None = None
    bugurl: str = ""
    final: bool = Field(default=True, description="a release, not a preview")
    verify: bool = Field(default=True, description="have lorax check the installation root")
    upgrade: bool = True
    skip_branding: bool = False
    ssl_verify: bool = True
    dnfplugins: tuple[str, ...] = ()
    timeout_minutes: int = Field(default=240, ge=1)
    templates: tuple[str, ...] = Field(
        default=(), description="more templates that run in the installer's root (absolute paths)"
    )
    arch_templates: tuple[str, ...] = Field(
        default=(), description="more templates that run before the architecture's own (absolute paths)"
    )
    variables: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(
        default={}, description="for those templates"
    )
    python: str = Field(default="/usr/bin/python3", description="interpreter that has lorax")
    python_path: tuple[str, ...] = Field(default=(), description="PYTHONPATH of it")
    path: tuple[str, ...] = Field(
        default=(), description="directories to look for programs in, before the system's"
    )

    @field_validator("python_path", "path")
    @classmethod
    def _searched(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for directory in value:
            if os.pathsep in directory:
                raise ValueError(f"{directory}: is one directory: a {os.pathsep} would split it in two")
        return value

    @field_validator("variables")
    @classmethod
    def _variables(cls, value: dict[str, str]) -> dict[str, str]:
        taken = sorted(set(value) & variables.RESERVED)
        if taken:
            raise ValueError(
                f"{', '.join(taken)}: lorax itself gives templates what is called that: choose another name"
            )
        return value

    @field_validator("sources", "mirrors")
    @classmethod
    def _sources(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if "srpm" in url.lower():
                raise ValueError(f"{url}: lorax silently skips every source with `srpm` in it")
        return value
