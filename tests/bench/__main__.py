"""Ratios measured in one run (`make bench`): disk stage and disk set against plain scripts, a second build
against the first, memory, space.

CPU seconds of this process and everything it started where work is compared, wall time where running at the
same time is the point; on a busy machine the ratios hold better than the seconds.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from imagebuild import steplog
from imagebuild.composers import registry as composers
from imagebuild.composers.composer import Job
from imagebuild.config.places import cache_directory
from imagebuild.release_line import reading as config
from tests.bench.demo import live_boot, second_build
from tests.bench.disks import disk_set
from tests.bench.installer import installer_iso
from tests.bench.releases import releasing
from tests.data import ROOT

LIMITS = {
    "disk stage / plain script": 3.0,
    "disk set / plain script": 0.8,
    "space at the peak / (tree + outputs)": 2.0,
    "second build / first build": 0.03,
    "peak memory, MiB": 300.0,
    "installer ISO / (mksquashfs + xorriso)": 1.3,
    "installer ISO / (tree + kernel + initramfs), size": 1.15,
    "live system to installer / installed host to ssh": 2.0,
    "release - one read of its artifacts, s": 2.0,
    "verify / one read of its files": 2.0,
}


def main() -> int:
    """Print the ratios; the exit status says whether all limits hold."""
    work = Path(
        tempfile.mkdtemp(
            prefix="imagebuild-bench-", dir=ROOT / "build" if (ROOT / "build").is_dir() else None
        )
    )
    try:
        # the composed tree is an input, not what is measured: beside the store
        settings = config.load(ROOT / "configs" / "debian-12.yaml", work / "input")
        assert settings.compose is not None
        with steplog.writing_to(work / "bench.log"):
            (work / "input").mkdir()
            job = Job(
                directory=work / "input" / "compose",
                ref=settings.the_ref(),
                tree=settings.tree,
                cache=cache_directory(),
            )
            composers.compose(job, settings.compose)
            found = releasing(work)
            found |= installer_iso(settings, work)
            shutil.rmtree(work / "store")
            found |= disk_set(settings, work)
    finally:
        shutil.rmtree(work)
    again = second_build()
    if again is None:
        print("second build / first build: not measured (run `make demo` with this code first)")
    else:
        found["second build / first build"] = again
    booted = live_boot()
    if booted is None:
        print("live system to installer / installed host to ssh: not measured (run `make demo` first)")
    else:
        found["live system to installer / installed host to ssh"] = booted
    for name, value in found.items():
        print(f"{name}: {value:.3g} (limit {LIMITS[name]:g}){'' if value <= LIMITS[name] else '  TOO MUCH'}")
    return 0 if all(value <= LIMITS[name] for name, value in found.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
