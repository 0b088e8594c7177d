"""Small charts over the last releases: sizes and boot times."""

from collections.abc import Sequence
from typing import Any

from imagebuild.publish.facts import Facts, megabytes

# units of a chart's height, and of a column's width with the gap after it
HIGHEST = 40.0
COLUMN = 14


def charts(releases: Sequence[Facts]) -> list[dict[str, Any]]:
    """Return a chart of the tree's size, and two of each download; columns are up to HIGHEST units high."""
    series: dict[str, list[tuple[str, float, str]]] = {}

    def add(name: str, facts: Facts, value: float, text: str) -> None:
        series.setdefault(name, []).append((facts.compose_id, value, text))

    for facts in releases:
        add("size: tree", facts, facts.tree.size, megabytes(facts.tree.size))
        for update in facts.updates:
            if update.size is not None:
                whence = update.ref or "the release before"
                add(f"size: update from {whence}", facts, update.size, megabytes(update.size))
        for download in facts.downloads:
            add(f"size: {download.image} {download.format}", facts, download.size, megabytes(download.size))
        for download in facts.downloads:
            for firmware, measured in download.boot.items():
                # as if all had been booted on one machine
                seconds = measured / facts.slowness
                name = f"boot: {download.image} {download.format}, {firmware}"
                add(name, facts, seconds, f"{seconds:.1f} s")
    return [_chart(name, values) for name, values in series.items()]


def _chart(name: str, values: Sequence[tuple[str, float, str]]) -> dict[str, Any]:
    largest = max(value for _, value, _ in values) or 1.0
    columns = [
        {
            "x": COLUMN * number,
            "y": round(HIGHEST - HIGHEST * value / largest, 2),
            "height": round(HIGHEST * value / largest, 2),
            "text": f"{compose}: {text}",
        }
        for number, (compose, value, text) in enumerate(values)
    ]
    return {
        "name": name,
        "columns": columns,
        "first": values[0][2],
        "last": values[-1][2],
        "width": COLUMN * len(values),
        "count": len(values),
    }
