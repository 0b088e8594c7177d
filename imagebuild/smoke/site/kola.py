"""What kola's external tests tell of themselves: `kola.json` beside them, or a header in the file.

Format: coreos-assembler (2025), docs/kola/external-tests.md, `kola.json`; the keys are those of
externalTestMeta in mantle/kola/harness.go, which refuses others, too, reads a header within the first 8192
bytes, and has a test only warn for 30 days after its `creationDate` (gracePeriod). A header replaces what the
directory's kola.json says.
"""

import json
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from pydantic import ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from imagebuild.config.fields import MIB, Model
from imagebuild.smoke.site.plain_yaml import read_yaml

HEADER_BYTES = 8192
JSON_HEADER, YAML_HEADER = "# kola:", "## kola:"
GRACE = timedelta(days=30)
# guests of the smoke test
PLATFORM = "qemu"
# what would have to be made for a guest, and is not
MACHINE = (
    "primary_disk", "additional_disks", "inject_container", "numa_nodes", "min_disk", "additional_nics",
    "append_kernel_args", "append_firstboot_kernel_args", "bind_mount_host_ro", "boot_from",
    "required_host_ports",
)  # fmt: skip


class KolaMeta(Model):
    """The keys of a test's record; a list of words is one text, a `!` in front excludes them."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)

    architectures: str = ""
    platforms: str = ""
    distros: str = ""
    tags: str = ""
    required_tag: str = ""
    min_memory: int = Field(default=0, ge=0, le=1 << 20, description="MiB")
    timeout_min: int = Field(default=0, ge=0, le=600)
    exclusive: bool = True
    description: str = ""
    creation_date: date | None = None
    # nothing is run beside anything else here, no cloud is asked, and there is no configuration
    conflicts: tuple[str, ...] | None = None
    allow_config_warnings: bool = False
    no_instance_creds: bool = False
    instance_type: str = ""
    primary_disk: Any = None
    additional_disks: Any = None
    inject_container: Any = None
    numa_nodes: Any = None
    min_disk: Any = None
    additional_nics: Any = None
    append_kernel_args: Any = None
    append_firstboot_kernel_args: Any = None
    bind_mount_host_ro: Any = Field(default=None, alias="bindMountHostRO")
    boot_from: Any = None
    required_host_ports: Any = None

    @property
    def warn_until(self) -> date | None:
        """The last day on which it only warns."""
        return self.creation_date + GRACE if self.creation_date is not None else None

    @property
    def memory(self) -> int:
        """The bytes of memory it needs."""
        return self.min_memory * MIB

    def untested(self) -> str:
        """Return why it cannot be tested on our guests; empty when it can."""
        if "needs-internet" in self.tags.split():
            return "its tag is needs-internet, and guests have none"
        asked = [type(self).model_fields[key].alias or key for key in MACHINE if getattr(self, key)]
        return f"it asks for a machine that is not made here: {', '.join(asked)}" if asked else ""

    def elsewhere(self) -> str:
        """Return why it does not apply to our guests; empty when it does."""
        if not _takes(self.platforms, PLATFORM):
            return f"it is for other platforms than {PLATFORM}: {self.platforms}"
        if self.distros and not self.distros.startswith("!"):
            return f"it is for {self.distros} only, as kola names distributions"
        if self.required_tag:
            return f"it is run only where the tag {self.required_tag} is asked for"
        return ""


@dataclass(frozen=True)
class Words:
    """A text of words: those that are meant, or those that are left out."""

    only: tuple[str, ...] = field(default=())
    without: tuple[str, ...] = field(default=())


def words(text: str) -> Words:
    """Return the words of a key."""
    if text.startswith("!"):
        return Words(without=tuple(text[1:].split()))
    return Words(only=tuple(text.split()))


def _takes(text: str, word: str) -> bool:
    found = words(text)
    return word not in found.without and (not found.only or word in found.only)


def read_json(data: bytes, where: str) -> KolaMeta:
    """Read a kola.json. Raises ValueError with what is wrong, and where."""
    try:
        return _checked(json.loads(data.decode()), where)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: is not JSON: {error}") from error


def read_header(data: bytes, where: str) -> KolaMeta | None:
    """Read the header of an executable; None when it has none. Raises ValueError as `read_json`."""
    lines = data[:HEADER_BYTES].decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines):
        if line.startswith(JSON_HEADER):
            return read_json(line.removeprefix(JSON_HEADER).strip().encode(), f"{where}:{number + 1}")
        if line.startswith(YAML_HEADER):
            return _read_yaml(lines[number + 1 :], f"{where}:{number + 1}")
    return None


def _read_yaml(lines: list[str], where: str) -> KolaMeta:
    told: list[str] = []
    for line in lines:
        if not line.startswith("## "):
            break
        told.append(line[3:])
    return _checked(read_yaml("\n".join(told), where), where)


def _checked(given: object, where: str) -> KolaMeta:
    try:
        return KolaMeta.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        says = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise ValueError(f"{where}: {key or 'the record'}: {says}") from error
