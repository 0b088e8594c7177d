"""Numbers of releases, taken once and never given again; and who is at work in a directory of releases."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from imagebuild import files
from imagebuild.errors import UsageError
from imagebuild.publish import facts, marks
from imagebuild.publish.facts import Facts
from imagebuild.publish.material import Material
from imagebuild.publish.names import Names, compose_id, names_of

CLAIMS = ".respins"
LOCK = ".lock"
# seconds
DAY = 86400


def released_as(
    output: Path, material: Material, *, nightly: bool, day: str | None = None, respin: int | None = None
) -> Facts | None:
    """Return the last release that was made of exactly this already (where they are given: on that day, with
    that number), unless it is bad.
    """
    for known in reversed(marks.unmarked(output, facts.history(output, material.tree.ref, parts=True))):
        same = (
            known.gate == material.gate
            and known.nightly == nightly
            and known.tree.commit == material.tree.commit
        )
        if same and day in (None, known.date) and respin in (None, known.respin):
            return known
    return None


@contextlib.contextmanager
def at_work(output: Path, *, wait: bool = True) -> Iterator[None]:
    """Be the only one who makes, removes or marks releases of a directory: wait for the others, or raise
    BuildError.
    """
    with files.locked(output / LOCK, busy=f"another imagebuild is at work in {output}", wait=wait):
        yield


def take_names(
    output: Path, material: Material, *, day: str, nightly: bool, signer: str, respin: int | None = None
) -> Names:
    """Take the next respin number of a day, or a given one. It belongs to what is being released: only a
    rerun of the same gets it again, and only as long as it was not finished. Where a compose has several
    architectures, each takes the number that others of its version have, signed by the same `signer`
    (fingerprint) and not marked bad.

    Raises UsageError when the given number is taken.
    """
    claims = output / CLAIMS
    claims.mkdir(parents=True, exist_ok=True)
    number = 0 if respin is None else respin
    while True:
        name = compose_id(material.config, day, number, nightly=nightly)
        names = names_of(material.config, day, number, nightly=nightly)
        if names.joint:
            free = _may_join(output / name, names, material.tree.version, signer)
            free = free and _claim_part(output / name, claims / name, names.arch, material.gate)
        else:
            free = not (output / name).exists() and _claim(claims / name, material.gate)
        if free:
            return names
        if respin is not None:
            raise UsageError(
                f"{name} is taken",
                hint=f"a respin number is used once; leave --respin out, or look at {output / name}",
            )
        number += 1


def day_to_join(output: Path, material: Material, *, nightly: bool) -> str | None:
    """Return the day of a compose that waits for this architecture: one of the same version, made within a
    day (builds of a night end before and after midnight); None when there is none.
    """
    for known in reversed(marks.unmarked(output, facts.history(output, None))):
        same = (known.product, known.release, known.nightly, known.tree.version) == (
            material.config.product,
            material.config.release,
            nightly,
            material.tree.version,
        )
        late = abs(material.created - known.created) > DAY
        taken = any(each.ref == material.tree.ref for each in facts.read_all(output / known.compose_id))
        if known.joint and same and not late and not taken:
            return known.date
    return None


def _may_join(compose: Path, names: Names, version: str, signer: str) -> bool:
    """Whether an architecture may become part of a compose: it is not there, the others are of its version
    and signed by the same, and nobody has marked the compose bad.
    """
    there = facts.read_all(compose) if facts.files_of(compose) else []
    # the first part of it may have been interrupted before anything of it counts
    begun = (compose.parent / CLAIMS / compose.name).is_dir()
    alone = compose.exists() and not there and not begun
    fits = all(
        known.joint and known.arch != names.arch and (known.tree.version, known.signer) == (version, signer)
        for known in there
    )
    return fits and not alone and not marks.is_marked(compose.parent, compose.name)


def _claim_part(compose: Path, claims: Path, arch: str, gate: str) -> bool:
    """Take the number of a compose for one of its architectures; one that was taken for a compose of a single
    architecture is not free. What was interrupted there gives way: it would lie in the compose unlisted.
    """
    try:
        claims.mkdir(exist_ok=True)
    except FileExistsError:
        return False
    if compose.exists():
        files.replace(claims / arch, gate + "\n")
        return True
    return _claim(claims / arch, gate)


def numbers_taken(output: Path) -> list[str]:
    """Return every compose id that was ever given in a directory."""
    return sorted(file.name for file in (output / CLAIMS).iterdir()) if (output / CLAIMS).is_dir() else []


def _claim(file: Path, gate: str) -> bool:
    try:
        files.create(file, gate + "\n")
    except FileExistsError:
        # a directory has the numbers of a compose of several architectures
        return file.is_file() and file.read_text().strip() == gate
    return True
