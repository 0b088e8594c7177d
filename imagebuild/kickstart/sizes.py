"""Every size worked out: what grows, what a percentage is of, what does not fit (blivet's `partitioning`)."""

from collections.abc import Sequence
from dataclasses import replace

from imagebuild.kickstart.layout import (
    ALIGNMENT,
    EXTENT,
    GIB,
    GPT_BACKUP,
    LUKS_HEADER,
    MIB,
    PE_START,
    Partition,
    Volume,
)
from imagebuild.kickstart.problems import BadKickstartError
from imagebuild.kickstart.requests import SizeRequest

# lvm.conf(5), allocation/thin_pool_*; lvmthin(7): 0.1 % of the pool, 2 MiB at least; here whole extents
POOL_METADATA = 1000


def place_partitions(
    parts: Sequence[SizeRequest], table: str, disk_size: int, name: str
) -> tuple[Partition, ...]:
    """Return partitions with their sizes, one after the other. Raises BadKickstartError."""
    available = disk_size - ALIGNMENT - (GPT_BACKUP if table == "gpt" else 0)
    total = sum(part.size for part in parts)
    if total > available:
        raise _does_not_fit(
            name, "the disk", disk_size, available, [(part.mount or part.name, part.size) for part in parts]
        )
    if table == "mbr" and len(parts) > 4:
        raise BadKickstartError(
            f"{name}:{parts[4].line}: an MBR holds four partitions; use clearpart --disklabel=gpt"
        )
    start, found = ALIGNMENT, list[Partition]()
    for number, (part, size) in enumerate(
        zip(parts, _grow(parts, available - total, MIB), strict=True), start=1
    ):
        found.append(
            Partition(
                name=part.name,
                number=number,
                start=start,
                size=size,
                content=part.fstype,
                mount=part.mount,
                label=part.label,
                encryption=part.encryption,
            )
        )
        start += size
    return tuple(found)


def divide_group(
    physical: Partition, group: str, volumes: Sequence[SizeRequest], name: str
) -> tuple[Volume, ...]:
    """Return the volumes of a group with their sizes. Raises BadKickstartError."""
    room = physical.size - (LUKS_HEADER if physical.encryption is not None else 0)
    extents = (room - PE_START) // EXTENT
    rounded = [
        replace(each, size=0 if each.percent else -(-each.size // EXTENT) * EXTENT) for each in volumes
    ]
    # a percentage is of what the others leave (blivet.partitioning, LVRequest)
    left = extents - sum(each.size for each in rounded if each.kind != "thin") // EXTENT
    rounded = [
        replace(each, size=max(left, 0) * each.percent // 100 * EXTENT) if each.percent else each
        for each in rounded
    ]
    for each in rounded:
        if not each.size:
            raise BadKickstartError(
                f"{name}:{each.line}: logvol {each.name}: {each.percent} % of what is left in {group} is"
                " nothing"
            )
    solid = [each for each in rounded if each.kind != "thin"]
    pools = [each for each in solid if each.kind == "thin-pool"]
    # a pool's metadata volume and its spare
    metadata = sum(2 * _metadata(each.size) for each in pools)
    total = sum(each.size for each in solid) + metadata
    if total > extents * EXTENT:
        asked = [(each.name, each.size) for each in solid] + (
            [("thin pool metadata", metadata)] if metadata else []
        )
        raise _does_not_fit(name, f"volume group {group}", physical.size, extents * EXTENT, asked)
    spare = extents * EXTENT - total
    if any(each.grow for each in pools):
        # what Anaconda leaves free in a thin group: a fifth, 1 … 100 GiB (blivet.partitioning)
        spare -= 2 * (_metadata(spare) + EXTENT) + min(max(extents * EXTENT // 5, GIB), 100 * GIB)
    sizes = dict(zip([each.name for each in solid], _grow(solid, max(spare, 0), EXTENT), strict=True))
    for each in rounded:
        if each.kind == "thin":
            if each.pool not in sizes:
                raise BadKickstartError(
                    f"{name}:{each.line}: logvol {each.name}: there is no thin pool {each.pool!r}"
                )
            sizes[each.name] = (
                min(sizes[each.pool], each.limit or sizes[each.pool]) // EXTENT * EXTENT
                if each.grow
                else each.size
            )
    return tuple(
        Volume(
            name=each.name,
            size=sizes[each.name],
            fstype=each.fstype,
            mount=each.mount,
            label=each.label,
            kind=each.kind,
            pool=each.pool,
        )
        for each in rounded
    )


def _metadata(pool: int) -> int:
    return max(EXTENT, -(-pool // POOL_METADATA // EXTENT) * EXTENT)


def _grow(requests: Sequence[SizeRequest], spare: int, unit: int) -> list[int]:
    """Return the sizes when `spare` bytes go to those that grow, in proportion to what they asked for
    (blivet.partitioning, Chunk).
    """
    sizes = [request.size for request in requests]
    growing = [index for index, request in enumerate(requests) if request.grow]
    while growing and spare >= unit:
        weight = sum(requests[index].size for index in growing)
        shares = {index: spare * requests[index].size // weight // unit * unit for index in growing}
        if not any(shares.values()):
            shares[growing[-1]] = spare // unit * unit
        for index, share in shares.items():
            limit = requests[index].limit
            room = max(0, limit // unit * unit - sizes[index]) if limit else share
            given = min(share, room)
            sizes[index] += given
            spare -= given
        growing = [
            index
            for index in growing
            if not requests[index].limit or sizes[index] + unit <= requests[index].limit
        ]
    return sizes


def _does_not_fit(
    name: str, what: str, size: int, available: int, parts: Sequence[tuple[str, int]]
) -> BadKickstartError:
    sums = " + ".join(f"{part} {count // MIB}" for part, count in parts)
    total = sum(count for _, count in parts) // MIB
    return BadKickstartError(
        f"{name}: {what} is too small: {sums} = {total} MiB, but of {size // MIB} MiB {available // MIB} MiB"
        " can be used"
    )
