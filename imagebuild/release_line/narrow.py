"""Less than a whole release line: only some downloads, under one firmware, for a quick look."""

from collections.abc import Collection

from imagebuild.errors import UsageError
from imagebuild.kinds import Firmware
from imagebuild.release_line.images import ImageConfig
from imagebuild.release_line.model import Config

ISO = "iso"


def narrow(config: Config, formats: Collection[str] = (), firmware: Firmware | None = None) -> Config:
    """Return a configuration that makes only the downloads of these formats (none given: all), under one
    firmware (None: under all). The installer is the format `iso`.

    Raises UsageError for a format that the release line does not make, or a firmware that nothing is tested
    under.
    """
    made = {name for image in config.images.values() for name in image.formats}
    made |= {ISO} if config.installer is not None else set()
    for name in formats:
        if name not in made:
            raise UsageError(
                f"this release line makes no {name}", hint=f"--only takes: {', '.join(sorted(made))}"
            )
    images = {key: _image(image, formats, firmware) for key, image in config.images.items()}
    wanted = {key for key, image in images.items() if image.formats}
    wanted |= {base for key in wanted if (base := images[key].base) is not None}
    if not wanted:
        # a release line has one disk at least
        wanted = {next(iter(images))}
    installer = config.installer if not formats or ISO in formats else None
    if installer is not None and firmware is not None:
        installer = installer.model_copy(update={"firmware": (firmware,)})
    return config.model_copy(
        update={"images": {key: images[key] for key in images if key in wanted}, "installer": installer}
    )


def _image(image: ImageConfig, formats: Collection[str], firmware: Firmware | None) -> ImageConfig:
    changed: dict[str, object] = {}
    if formats:
        changed["formats"] = {name: options for name, options in image.formats.items() if name in formats}
    if firmware is not None:
        if firmware not in image.firmware:
            raise UsageError(
                f"{image.name} is not tested under {firmware}",
                hint=f"it is under: {', '.join(image.firmware)}",
            )
        changed |= {"firmware": (firmware,), "installed": (firmware,)}
    return image.model_copy(update=changed)
