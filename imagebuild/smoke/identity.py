"""What is known of the same disk: cells that are carried over from the artifact on which they were tested.

A disk that was booted on the same machine, controller and firmware is not booted again: all of its cells are
carried over. What was booted elsewhere is carried over but for what is about booting here.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuild.kinds import Firmware
from imagebuild.model import Cell, Verdict
from imagebuild.smoke.cells import BOOT
from imagebuild.smoke.trial import Known, Scope, Subject
from imagebuild.tools.qemu import disk_image

BOOTS, SAME = "boots.json", "same-disk.txt"
# what of a subject may differ between two that are the same disk: names, and how the file holds it
HOLDERS = ("artifact", "disk", "format", "digest", "size", "source")


@dataclass(frozen=True, kw_only=True)
class References:
    """Verdicts on the same disk, and the proof that it is the same."""

    verdicts: tuple[Verdict, ...] = ()
    proof: str = ""

    def scope(self, scope: Scope, firmware: Firmware) -> Scope:
        """Return what there is still to ask."""
        if not self.verdicts:
            return scope
        cells = [cell for reference in self.verdicts for cell in reference.cells]
        files = [reference.evidence / "machine-id" for reference in self.verdicts]
        known = Known(other_firmware=all(cell.firmware is not firmware for cell in cells))
        ids = tuple(file.read_text().strip() for file in files if file.exists())
        return replace(scope, known=known, machine_ids=ids)

    def booted(self, firmware: Firmware) -> Verdict | None:
        """Return the verdict under a firmware; None when there is none."""
        return next((one for one in self.verdicts if one.cells[0].firmware is firmware), None)


def same_machine(one: Subject, other: Subject) -> bool:
    """Whether a guest finds the same in both, when the bytes of both disks are the same: their size, and
    everything that is around them.
    """
    alike = dict.fromkeys(HOLDERS)
    return _without(one, alike) == _without(other, alike) and _size(one) == _size(other)


def _without(subject: Subject, alike: dict[str, None]) -> dict[str, object]:
    return {name: value for name, value in vars(subject).items() if name not in alike}


def _size(subject: Subject) -> int:
    return subject.size or disk_image.virtual_size(subject.disk, subject.format)


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """Where cells are carried to: the artifact, its firmware, and its evidence; `whole`: it was not booted
    itself.
    """

    artifact: str
    firmware: Firmware
    evidence: Path
    proof: str
    whole: bool = False

    def carry(self, reference: Verdict, tested: Sequence[Cell]) -> list[Cell]:
        """Return the cells of an artifact with the same disk, for what was not tested here; the proof stands
        in each, and in its evidence.
        """
        names = {cell.criterion for cell in tested}
        return [self._carried(reference, cell) for cell in reference.cells if cell.criterion not in names]

    def _carried(self, reference: Verdict, cell: Cell) -> Cell:
        text = self.say(cell)
        log = self.evidence / f"{cell.criterion}.log"
        source = reference.evidence / cell.evidence
        log.write_bytes(f"# {text}\n".encode() + (source.read_bytes() if source.exists() else b""))
        # a waiver is for the artifact it names
        return replace(
            cell,
            artifact=self.artifact,
            firmware=self.firmware,
            state=cell.found or cell.state,
            found=None,
            carried=True,
            same_as=cell.artifact if self.whole else "",
            evidence=log.name,
            reason=f"{cell.reason}; {text}" if cell.reason else text,
            seconds=0.0,
        )

    def say(self, cell: Cell) -> str:
        """Return the sentence about where a cell comes from."""
        where = f"carried over by identity from {cell.artifact} ({cell.firmware})"
        same = "the same disk, byte by byte"
        if self.whole:
            same = f"the same disk as {cell.artifact} on the same machine, booted once for both, byte by byte"
        return f"{where}: {same} ({self.proof.strip()})"

    def carry_boot(self, reference: Verdict) -> None:
        """Copy what the reference's first boot has left: it is this artifact's, too, and says so."""
        for name in BOOT:
            if (reference.evidence / name).is_file():
                shutil.copyfile(reference.evidence / name, self.evidence / name)
        of = reference.cells[0].artifact
        (self.evidence / SAME).write_text(self.say(reference.cells[0]) + "\n")
        file = self.evidence / BOOTS
        if file.is_file():
            first = json.loads(file.read_text())[:1]
            note = f"the boot of {of}: the same disk on the same machine"
            told = [
                boot | {"of": of, "note": "; ".join(filter(None, (boot.get("note"), note)))} for boot in first
            ]
            file.write_text(json.dumps(told, indent=1) + "\n")
