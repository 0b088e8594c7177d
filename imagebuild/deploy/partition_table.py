"""The partition table, written with sfdisk(8) into a plain file: no device, no root."""

from pathlib import Path

from imagebuild.kickstart.layout import SECTOR, Partition
from imagebuild.kickstart.plan import Plan
from imagebuild.tools import command, temporary

# type GUIDs: UEFI 2.10, table 5-7, and the Discoverable Partitions Specification
GPT_TYPES = {
    "biosboot": "21686148-6449-6E6F-744E-656564454649",
    "efi": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "lvm": "E6D6D379-F507-44C2-A23C-238F2A3DF928",
    "swap": "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
    "data": "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
}
ENTRIES = 16 * 1024
MBR_TYPES = {"efi": "ef", "lvm": "8e", "swap": "82", "data": "83"}


def write_table(file: Path, plan: Plan) -> None:
    """Write the plan's partition table into a disk that is there already (its boot code stays).

    A device knows its sectors. Of a file sfdisk takes 512 bytes, whatever its script says (sfdisk(8) 2.38,
    "sector-size"); fdisk(8) is told, and reads the same script.
    """
    if plan.sector_size == SECTOR or not file.is_file():
        command.run(
            ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--wipe=never", file],
            stdin=script(plan).encode(),
        )
        return
    with temporary.within(file.parent, "table") as place:
        (place / "script").write_text(script(plan))
        command.run(
            [
                "fdisk",
                *("--sector-size", str(plan.sector_size)),
                *("--wipe=never", "--wipe-partitions=never"),
                file.absolute(),
            ],
            stdin=b"I\nscript\nw\n",
            cwd=place,
        )


def script(plan: Plan) -> str:
    """Return the plan's partitions in sfdisk's own language (sfdisk(8), "Script header lines")."""
    gpt = plan.table == "gpt"
    lines = [
        f"label: {'gpt' if gpt else 'dos'}",
        f"label-id: {plan.uuid('disk') if gpt else '0x' + plan.volume_id('disk')}",
        "unit: sectors",
    ]
    if gpt:
        # behind the protective MBR, the header and 16 KiB of entries (UEFI 2.10, 5.3.1)
        lines.append(f"first-lba: {2 + ENTRIES // plan.sector_size}")
    lines += ["", *(_line(plan, each) for each in plan.partitions)]
    return "\n".join(lines) + "\n"


def _line(plan: Plan, partition: Partition) -> str:
    kind = partition.content if partition.content in GPT_TYPES else "data"
    fields = [f"start={partition.start // plan.sector_size}", f"size={partition.size // plan.sector_size}"]
    if plan.table == "gpt":
        fields += [
            f"type={GPT_TYPES[kind]}",
            f"uuid={plan.uuid(f'partition {partition.number}')}",
            f'name="{partition.name}"',
        ]
    else:
        fields += [f"type={MBR_TYPES[kind]}", *(["bootable"] if partition.mount == "/boot" else [])]
    return f"{partition.number} : {', '.join(fields)}"
