"""Open a finished download read-only and look: is it in the state that its first boot needs? The build is not
trusted.
"""

import shutil
from pathlib import Path

from imagebuild.architectures.registry import loader_of
from imagebuild.deploy import explained, first_boot, unused_space
from imagebuild.deploy.commit_files import CommitFiles
from imagebuild.deploy.execute import deployment_of
from imagebuild.deploy.signed_loader import HINT, shim_in
from imagebuild.deploy.ways import WAYS, unavailable
from imagebuild.errors import BuildError
from imagebuild.formats.registry import FORMATS
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Login
from imagebuild.model import Image, Inspection, SecureBoot, Toolbox, Tree
from imagebuild.tools import guestfs
from imagebuild.tools.ostree.kernel import kernel_of
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.qemu.export import exported
from imagebuild.tools.secure_boot.chain import judge


def inspect_image(
    out: Path,
    tree: Tree,
    previous: tuple[Tree, ...],
    toolbox: Toolbox,
    plan: Plan,
    image: Image,
    ways: tuple[str, ...],
    login: Login,
) -> Inspection:
    """Unpack a download as its users would, mount it read-only and check its first-boot state, that its
    deployment is the commit, and what a machine with Secure Boot would start. Raises BuildError with every
    problem.
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
            deployment = deployment_of(plan, tree.commit)
            facts = first_boot.read_facts(plan, target, deployment)
            problems = explained.problems(target, deployment, Repo(tree.repo), tree.commit)
            target.finish(plan)
            problems += unused_space.problems(raw)
            esp = plan.partition("efi")
            secure = _judge(raw, esp.start, tree, previous) if esp is not None else image.secure_boot
    finally:
        shutil.rmtree(work)
    file = out / "facts.json"
    file.write_text(first_boot.to_json({**facts, "secure-boot": [secure.in_words()]}))
    problems += first_boot.problems(
        facts, commit=tree.commit, kind=image.format, clouds=FORMATS[image.format].clouds, login=login
    )
    if image.secure_boot.reason is None and secure.reason is not None:
        # it was promised to boot there
        raise BuildError(f"{image.name} is {secure.in_words()}", hint=HINT)
    if problems:
        raise BuildError(
            f"{image.name} is not in the state that a first boot needs: {'; '.join(problems)}",
            hint="correct the kickstart (its %post, the size of its /boot), or the tree; what is not the"
            " commit's belongs into the tree, or into /etc and /var",
        )
    return Inspection(artifact=image.name, facts=file)


def _judge(raw: Path, esp: int, tree: Tree, previous: tuple[Tree, ...]) -> SecureBoot:
    """Return what a machine with Secure Boot would say of a disk, also one that has run the shim of a release
    before.
    """
    shims = {f"release {before.version}": shim for before in previous if (shim := shim_of(before))}
    return judge(raw, esp, kernel_of(Repo(tree.repo), tree.commit), shims, tree.arch)


def shim_of(tree: Tree) -> bytes | None:
    """Return a tree's shim; None when it has none."""
    path = shim_in(CommitFiles(tree.repo, tree.commit).listing, loader_of(tree.arch))
    return Repo(tree.repo).read(tree.commit, str(path)) if path is not None else None


def _way(ways: tuple[str, ...], plan: Plan) -> str:
    """Return how a disk can be opened here: the ways to populate one first. Raises BuildError."""
    able = [
        name
        for name in (*ways, *WAYS)
        if WAYS[name].opens and not unavailable(name, plan.arch) and not WAYS[name].refuses(plan)
    ]
    if not able:
        raise BuildError(
            "no disk can be opened here: neither as root, nor in the libguestfs appliance", hint=guestfs.HINT
        )
    return able[0]
