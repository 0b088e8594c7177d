"""Make the installer ISO with one of the backends, and look at the result: what the backend says of it is not
trusted.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imagebuild import files, steplog
from imagebuild.architectures.registry import guest_of, loader_of
from imagebuild.config.installer import InstallerConfig
from imagebuild.config.tree import TreeConfig
from imagebuild.deploy import prescript
from imagebuild.errors import EvidenceError
from imagebuild.installers import check
from imagebuild.installers.installer import Request
from imagebuild.installers.live.product import digest as program_digest
from imagebuild.installers.registry import INSTALLERS
from imagebuild.installers.treeinfo import write_treeinfo
from imagebuild.kickstart import source as language
from imagebuild.kickstart.problems import located
from imagebuild.model import IsoImage, Kickstart, SecureBoot, Toolbox, Tree
from imagebuild.tools import iso, temporary
from imagebuild.tools.menus import medium
from imagebuild.tools.secure_boot.chain import firmware_of, judge

KERNEL = "/images/pxeboot/vmlinuz"
# what check.problems() asks of every ISO


@dataclass(frozen=True, kw_only=True)
class InstallerSpec:
    """Which backend, for what product and release; the ways to run the tree's programs here; and the program
    that is put on a live ISO.

    `epoch`: the time of everything that is made (SOURCE_DATE_EPOCH); None: the commit's.
    """

    backend: str
    product: str
    release: str
    ways: tuple[str, ...]
    epoch: int | None = None
    program: str = field(default_factory=program_digest)


def make_iso(
    out: Path,
    tree: Tree,
    toolbox: Toolbox | None,
    kickstarts: tuple[Kickstart, ...],
    source: TreeConfig,
    config: InstallerConfig,
    spec: InstallerSpec,
) -> IsoImage:
    """Make the ISO. `kickstarts` are the defaults of an interactive installation and, if there is one, the
    unattended kickstart.

    `toolbox` is there for a backend that needs it. Raises BuildError: what the backend could not do, or what
    is wrong with what it made; the refused ISO is kept as its evidence.
    """
    _check_encryption(kickstarts)
    request = _request(out, tree, toolbox, kickstarts, source, config, spec)
    write_treeinfo(request.treeinfo, spec.product, spec.release, config.variant, tree, request.epoch)
    steplog.note(f"making the installer ISO with the {spec.backend} backend")
    image = INSTALLERS[spec.backend].build(out, request)
    facts = _looked_into(out, image, request, INSTALLERS[spec.backend].discinfo(config, tree.arch))
    secure_boot = _judge(out, image, tree.arch)
    return IsoImage(
        file=image,
        name=image.name,
        backend=spec.backend,
        volume_id=str(facts["volume_id"]),
        commit=tree.commit,
        md5=str(facts["md5"]),
        unattended=request.unattended is not None,
        treeinfo=request.treeinfo,
        size=image.stat().st_size,
        sha256=files.sha256(image),
        firmware=firmware_of(frozenset(guest_of(tree.arch).firmware), secure_boot),
        secure_boot=secure_boot,
    )


def _judge(out: Path, image: Path, arch: str) -> SecureBoot:
    """Return whether an ISO boots on a machine with Secure Boot, and say so in the step's log."""
    with temporary.within(out, "esp") as place:
        esp = medium.opened(image, place).esp_place
        if esp is None:
            return SecureBoot(reason="the ISO has no ESP")
        found = judge(esp.file, 0, iso.read(image, KERNEL, place), {}, arch)
    steplog.note(found.in_words())
    return found


def _check_encryption(kickstarts: tuple[Kickstart, ...]) -> None:
    for number, kickstart in enumerate(kickstarts):
        text, name = prescript.without_includes(kickstart.file.read_text()), kickstart.file.name
        with located(name, kickstart.origin):
            language.check_medium(text, kickstart.syntax, name, unattended=number == 1)


def _request(
    out: Path,
    tree: Tree,
    toolbox: Toolbox | None,
    kickstarts: tuple[Kickstart, ...],
    source: TreeConfig,
    config: InstallerConfig,
    spec: InstallerSpec,
) -> Request:
    return Request(
        name=f"{config.name}-{tree.version}.{tree.arch}",
        title=f"{tree.pretty_name}",
        product=spec.product,
        release=spec.release,
        tree=tree,
        toolbox=toolbox,
        source=source,
        config=config,
        defaults=kickstarts[0],
        unattended=kickstarts[1] if len(kickstarts) > 1 else None,
        keys=() if source.allow_unsigned else tuple(Path(key) for key in source.gpg_keys),
        ways=spec.ways,
        epoch=spec.epoch if spec.epoch is not None else tree.timestamp,
        treeinfo=out / "treeinfo",
    )


def _looked_into(out: Path, image: Path, request: Request, discinfo: bool) -> Mapping[str, object]:
    """Return the facts of an ISO. Raises EvidenceError when it is not what was asked for (it is kept)."""
    work = out / "work"
    work.mkdir(exist_ok=True)
    facts = check.look_into(image, work)
    problems = check.problems(
        facts,
        volume_id=request.config.volume_id,
        commit=request.tree.commit,
        ref=request.tree.follows,
        unattended=request.unattended is not None,
        discinfo=discinfo,
        bios=loader_of(request.tree.arch).bios is not None,
    )
    text = json.dumps(facts, indent=1, sort_keys=True, default=str)
    (out / "facts.json").write_text(f"{text}\n")
    # a refused one is kept as it is, with what was found in it; nothing else is
    shutil.rmtree(work)
    if problems:
        steplog.note(text)
        hint = f"the log and facts.json have all that was found in it; {image.name} is kept beside them"
        raise EvidenceError(
            f"{image.name} is not what it should be: {'; '.join(problems)}",
            hint=hint,
            log=steplog.current(),
            evidence=image,
        )
    return facts
