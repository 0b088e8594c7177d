"""The installer ISO, compared with mksquashfs and xorriso alone on the same input."""

from pathlib import Path

from imagebuild.config.places import cache_directory
from imagebuild.deploy.ways import choose_ways
from imagebuild.engine import planning
from imagebuild.installers.live.options import LiveConfig
from imagebuild.model import IsoImage
from imagebuild.pipeline import wire
from imagebuild.release_line.model import Config
from imagebuild.stages.installer import InstallerSpec, make_iso
from imagebuild.stages.kickstart import write_kickstart
from imagebuild.stages.tree import pin
from imagebuild.tools import accelerator, command, iso, loop
from imagebuild.wiring.builder import Builder
from tests.bench.measuring import build_quietly, measured


def installer_iso(settings: Config, work: Path) -> dict[str, float]:
    """Make the live ISO with the product's default compression, and hold it against the two programs alone on
    the same input.
    """
    assert settings.installer is not None
    config = settings.installer.model_copy(update={"live": LiveConfig()})
    store, out, plain = work / "store", work / "iso", work / "plain-iso"
    host = Builder(
        repo=store / "repo", populate=choose_ways(None)[0], accelerator=accelerator.probe(cache_directory())
    )
    pipeline = wire(settings, pin(settings.tree, settings.the_ref()), host)
    toolbox_step = next(one for one in planning.order([pipeline.release]) if one.name == "toolbox")
    outcome = build_quietly([toolbox_step, pipeline.tree], store)
    tree, toolbox = outcome.value(pipeline.tree), outcome.values[toolbox_step]
    kickstarts = []
    for name in ("interactive", "installer"):
        (out / name).mkdir(parents=True)
        kickstarts.append(write_kickstart(out / name, tree, settings.kickstarts[name], settings.tree, ""))
    spec = InstallerSpec(
        backend="live", product=settings.product, release=settings.release, ways=host.populate
    )
    made: list[IsoImage] = []
    _, ours = measured(
        "installer ISO",
        lambda: made.append(make_iso(out, tree, toolbox, tuple(kickstarts), settings.tree, config, spec)),
    )
    (plain / "tree").mkdir(parents=True)
    with loop.attached(toolbox.image, read_only=True) as device:
        command.run(["mount", "-t", "squashfs", "-o", "ro", device, plain / "tree"])
        try:
            level = config.options(LiveConfig).level
            _, floor = measured("mksquashfs and xorriso alone", lambda: _plain_iso(plain, level))
            command.run(
                [
                    "mksquashfs",
                    plain / "tree" / "usr",
                    plain / "alone.img",
                    "-comp",
                    "zstd",
                    "-Xcompression-level",
                    str(config.options(LiveConfig).level),
                    "-quiet",
                    "-no-progress",
                ]
            )
        finally:
            command.run(["umount", plain / "tree"])
    boot = iso.extract(made[0].file, ["/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img"], plain)
    alone = (plain / "alone.img").stat().st_size + sum(file.stat().st_size for file in boot.values())
    print(f"  ISO {made[0].size / 1e6:.0f} MB, tree, kernel and initramfs {alone / 1e6:.0f} MB")
    return {
        "installer ISO / (mksquashfs + xorriso)": ours / floor,
        "installer ISO / (tree + kernel + initramfs), size": made[0].size / alone,
    }


def _plain_iso(work: Path, level: int) -> None:
    (work / "images").mkdir()
    command.run(
        [
            "mksquashfs",
            work / "tree",
            work / "images" / "install.img",
            "-comp",
            "zstd",
            "-Xcompression-level",
            str(level),
            "-quiet",
            "-no-progress",
        ]
    )
    command.run(
        [
            "xorriso",
            "-as",
            "mkisofs",
            "-quiet",
            "-R",
            "-V",
            "PLAIN",
            "-o",
            work / "plain.iso",
            work / "images",
        ]
    )
