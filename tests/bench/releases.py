"""Releasing and verifying, compared with reading the same files once."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from imagebuild import files
from imagebuild.destinations.source import DirectorySource
from imagebuild.publish.findings import Verification
from imagebuild.publish.verify import Trust, verify
from tests.bench.measuring import measured
from tests.release_lab import FIRST, Line


def releasing(work: Path) -> dict[str, float]:
    """Release downloads of 100 MB each, against nothing but reading them once (as many at a time); then
    verify, against reading every file.
    """
    line = Line(work / "release", work / "keys")
    material = line.material(line.commit("12.1", FIRST), grown=100_000_000)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        _, read = measured(
            "read", lambda: list(pool.map(files.sha256, [each.file for each in material.downloads]))
        )
    _, released = measured("release", lambda: line.release(material))
    (place,) = [file.parent for file in line.output.glob("*/COMPOSE_ID")]
    _, every = measured(
        "read everything", lambda: [files.sha256(file) for file in place.rglob("*") if file.is_file()]
    )
    trust = Trust(keys=(line.key,), commit_keys=(line.key,), open_images=False, cache=work)
    found = Verification()
    _, verified = measured(
        "verify", lambda: found.problems.extend(verify(DirectorySource(place), trust).problems)
    )
    assert not found.problems
    return {
        "release - one read of its artifacts, s": released - read,
        "verify / one read of its files": verified / every,
    }
