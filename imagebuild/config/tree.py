"""Where a commit comes from, who signed it, how its server is reached."""

import re

from pydantic import Field, field_validator, model_validator

from imagebuild.config.fields import AbsolutePath, Model, Url, Word


class TlsConfig(Model):
    """Files (PEM) for the server that commits are pulled from, on the build machine only: installed hosts
    have their own remote.
    """

    ca: str | None = Field(
        default=None, description="authorities that sign the server's certificate, in place of the system's"
    )
    certificate: str | None = Field(
        default=None, description="certificate that the build machine shows to the server"
    )
    key: str | None = Field(
        default=None,
        description="its private key, without a passphrase; not given: it is in `certificate`, too",
    )

    @model_validator(mode="after")
    def _pair(self) -> "TlsConfig":
        if self.key is not None and self.certificate is None:
            raise ValueError("key: there is no certificate that it belongs to")
        if self.ca is None and self.certificate is None:
            raise ValueError("name a ca, a certificate, or both; or leave tls out")
        return self


class TreeConfig(Model):
    """Where the commit comes from, who signed it, and where installed hosts look for the next one."""

    url: Url = Field(description="repository to pull the commit from")
    # how the server is reached changes no artifact and concerns nobody else: neither in keys nor in what is
    # published
    tls: TlsConfig | None = Field(
        default=None,
        exclude=True,
        description="for pulling from `url` by the build machine; installed hosts know nothing of it",
    )
    proxy: str | None = Field(
        default=None,
        exclude=True,
        description=(
            "http://HOST:PORT, for pulling from `url` by the build machine, whatever the environment says;"
            " installed hosts know nothing of it"
        ),
    )
    gpg_keys: tuple[str, ...] = Field(
        default=(), description="files of public keys, one of which must have signed the commit"
    )
    allow_unsigned: bool = Field(default=False, description="go without a signature; to be set by hand only")
    # it changes no artifact
    allow_downgrade: bool = Field(
        default=False,
        exclude=True,
        description=(
            "build a commit although a newer one of its ref was pulled or released before: the ref was set"
            " back on purpose"
        ),
    )
    osname: Word = Field(description="stateroot of installed hosts")
    remote: Word = Field(description="name of the remote on installed hosts")
    update_url: Url = Field(description="what installed hosts upgrade from")
    update_gpg_key: AbsolutePath = Field(
        description="path of the public key inside the tree, for the remote of installed hosts"
    )
    update_verify: bool = Field(
        default=True, description="whether installed hosts check signatures: Fedora 25's did not"
    )
    attempts: int = Field(default=4, ge=1, le=20)
    low_speed_bytes: int = Field(
        default=1000, ge=0, description="bytes per second below which a transfer counts as stalled"
    )
    low_speed_seconds: float = Field(default=60, gt=0)

    @model_validator(mode="after")
    def _signed(self) -> "TreeConfig":
        if not self.gpg_keys and not self.allow_unsigned:
            raise ValueError(
                "gpg_keys is empty: name the keys that sign the commits, or set allow_unsigned: true"
            )
        return self

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: str | None) -> str | None:
        if value is not None and "@" in value:
            raise ValueError(
                "a configuration is not a place for a password: leave tree.proxy out, and set https_proxy in"
                " the environment"
            )
        # without a port libcurl would take 1080, requests 80
        if value is not None and not re.fullmatch(
            r"http://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}/?", value
        ):
            raise ValueError("must be http://HOST:PORT")
        return value

    @model_validator(mode="after")
    def _reached(self) -> "TreeConfig":
        if self.tls is not None and not self.url.startswith("https://"):
            raise ValueError(f"tls: does not apply to {self.url}: only https:// has certificates")
        if self.proxy is not None and self.url.startswith("file:"):
            raise ValueError(f"proxy: does not apply to {self.url}")
        return self
