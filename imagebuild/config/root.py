"""How a host's root file system is put together at boot: what stands in the tree's prepare-root.conf.

Keys and meanings: ostree-prepare-root(1), "Configuration" (ostree 2026.4, man/ostree-prepare-root.xml; the
same in 2025.2).
"""

from typing import Literal

from pydantic import Field, model_validator

from imagebuild.config.fields import Model


class RootConfig(Model):
    """How the host's root file system is put together when it boots."""

    readonly: bool = Field(
        default=False, description="/sysroot is mounted read-only; only ostree itself makes it writable"
    )
    composefs: Literal["no", "yes", "verity", "signed"] = Field(
        default="no",
        description=(
            "/ is an image of the commit (the tree's ostree must be linked with composefs); `verity` and"
            " `signed` check the content of every file that is read, `yes` does not"
        ),
    )
    etc: Literal["merged", "transient"] = Field(
        default="merged", description="whether /etc keeps its changes, or begins as the tree's at every boot"
    )

    @model_validator(mode="after")
    def _goes_together(self) -> "RootConfig":
        # without either of them ostree-prepare-root mounts no /etc at all, and the setting would be ignored
        if self.etc == "transient" and not (self.readonly or self.composefs != "no"):
            raise ValueError("etc: transient needs readonly: true, or composefs")
        return self

    def text(self) -> str | None:
        """Return the content of prepare-root.conf; None when everything is as ostree has it by itself."""
        if self == RootConfig():
            return None
        lines = ["[sysroot]", f"readonly={str(self.readonly).lower()}"]
        if self.composefs != "no":
            lines += ["", "[composefs]", f"enabled={self.composefs}"]
        if self.etc == "transient":
            lines += ["", "[etc]", "transient=true"]
        return "\n".join(lines) + "\n"
