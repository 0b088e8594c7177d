"""Open a finished download read-only and look: is it in the state that its first boot needs? The build is not
trusted.
"""

import shutil
from pathlib import Path

from imagebuild.deploy import first_boot
from imagebuild.deploy.execute import deployment_of
from imagebuild.deploy.ways import WAYS
from imagebuild.errors import BuildError
from imagebuild.formats.registry import FORMATS
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Login
from imagebuild.model import Image, Inspection, Toolbox, Tree
from imagebuild.tools import guestfs
from imagebuild.tools.qemu.export import exported


def inspect_image(
    out: Path, tree: Tree, toolbox: Toolbox, plan: Plan, image: Image, ways: tuple[str, ...], login: Login
) -> Inspection:
    """Unpack a download as its users would, mount it read-only and check its first-boot state. Raises
    BuildError with every problem.
    """
    way = _way(ways, plan)
    work = out / "unpacked"
    work.mkdir()
    try:
        unpacked = FORMATS[image.format].unpack(image.file, work)
        with (
            exported(unpacked.disk, unpacked.format, writable=False) as raw,
            WAYS[way].open(raw, toolbox.image, plan) as target,
        ):
            target.reopen(plan, read_only=True)
            facts = first_boot.read_facts(plan, target, deployment_of(plan, tree.commit))
            target.finish(plan)
    finally:
        shutil.rmtree(work)
    file = out / "facts.json"
    file.write_text(first_boot.to_json(facts))
    problems = first_boot.problems(
        facts, commit=tree.commit, kind=image.format, clouds=FORMATS[image.format].clouds, login=login
    )
    if problems:
        raise BuildError(
            f"{image.name} is not in the state that a first boot needs: {'; '.join(problems)}",
            hint="correct the kickstart (its %post, the size of its /boot), or the tree",
        )
    return Inspection(artifact=image.name, facts=file)


def _way(ways: tuple[str, ...], plan: Plan) -> str:
    """Return how a disk can be opened here: the ways to populate one first. Raises BuildError."""
    able = [
        name
        for name in (*ways, *WAYS)
        if WAYS[name].opens and not WAYS[name].unavailable() and not WAYS[name].refuses(plan)
    ]
    if not able:
        raise BuildError(
            "no disk can be opened here: neither as root, nor in the libguestfs appliance", hint=guestfs.HINT
        )
    return able[0]
