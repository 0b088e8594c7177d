"""The partition table, written with sfdisk(8) into a plain file: no device, no root."""

from pathlib import Path

from imagebuild.deploy.plan import GPT_TYPES, MBR_TYPES, SECTOR, Partition, Plan
from imagebuild.tools import command


def write_table(file: Path, plan: Plan) -> None:
    """Make `file` a sparse disk of the plan's size with its partitions."""
    with file.open("wb") as disk:
        disk.truncate(plan.disk_size)
    command.run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--wipe=never", file], stdin=script(plan).encode())


def script(plan: Plan) -> str:
    """Return the plan's partitions in sfdisk's own language (sfdisk(8), "Script header lines")."""
    gpt = plan.table == "gpt"
    lines = [
        f"label: {'gpt' if gpt else 'dos'}",
        f"label-id: {plan.uuid('disk') if gpt else '0x' + plan.volume_id('disk')}",
        "unit: sectors",
    ]
    if gpt:
        lines.append("first-lba: 34")
    lines += ["", *(_line(plan, each) for each in plan.partitions)]
    return "\n".join(lines) + "\n"


def _line(plan: Plan, partition: Partition) -> str:
    kind = partition.content if partition.content in GPT_TYPES else "data"
    fields = [f"start={partition.start // SECTOR}", f"size={partition.size // SECTOR}"]
    if plan.table == "gpt":
        fields += [f"type={GPT_TYPES[kind]}", f"uuid={plan.uuid(f'partition {partition.number}')}", f'name="{partition.name}"']
    else:
        fields += [f"type={MBR_TYPES[kind]}", *(["bootable"] if partition.mount == "/boot" else [])]
    return f"{partition.number} : {', '.join(fields)}"
