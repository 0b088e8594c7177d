"""Which release line and ref are meant, and what can be asked of a line before anything is built."""

from collections.abc import Callable
from pathlib import Path

from imagebuild import steplog
from imagebuild.composers import registry as composers
from imagebuild.composers.composer import Composed, Job
from imagebuild.config.places import cache_directory
from imagebuild.errors import UsageError
from imagebuild.release_line import reading
from imagebuild.release_line.model import Config


def load(ref: str | None, file: Path | None, store: Path) -> tuple[Config, str]:
    """Return a configuration and the ref: those of a file, or of the line that builds the ref.

    Raises UsageError: no file and no ref, a ref that the line does not build, whatever the file has wrong.
    """
    if file is not None:
        config = reading.load(file, store)
        chosen = ref or config.the_ref()
        if not config.builds(chosen):
            raise UsageError(
                f"{file} does not build the ref {chosen}", hint=f"its patterns are: {', '.join(config.refs)}"
            )
        return config, chosen
    if ref is None:
        raise UsageError("neither a ref nor a configuration is given", hint="give --ref REF or --config FILE")
    return reading.find(ref, store)[1], ref


def compose(
    config: Config,
    ref: str,
    store: Path,
    *,
    refresh: bool = False,
    begins: Callable[[Path], object] = str,
) -> Composed:
    """Make the next commit of a ref, if anything changed; `begins` is told where the log grows.

    `refresh`: ask the package mirror again even if the cache is younger than a day. Raises UsageError when
    the line's commits come from elsewhere, BuildError when composing fails.
    """
    spec = config.compose
    if spec is None:
        raise UsageError(
            "this configuration has no `compose`: its commits come from elsewhere",
            hint=f"they are pulled from {config.tree.url}",
        )
    directory = store.absolute() / "compose"
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "compose.log"
    log.unlink(missing_ok=True)
    begins(log)
    with steplog.writing_to(log):
        job = Job(
            directory=directory,
            ref=ref,
            tree=config.tree,
            cache=cache_directory(),
            refresh=refresh,
            arch=config.arch,
        )
        return composers.compose(job, spec)


def kickstart_text(config: Config, ref: str, variant: str) -> str:
    """Return a variant's kickstart, its values filled in, checked. Raises UsageError, BadKickstartError."""
    # what it needs of pykickstart takes longer than everything else here
    from imagebuild.stages import kickstart  # noqa: PLC0415

    template = config.kickstarts.get(variant)
    if template is None:
        raise UsageError(
            f"this configuration has no kickstart for {variant}",
            hint=f"it has: {', '.join(config.kickstarts)}",
        )
    follows = config.stable_ref(ref)
    filled = kickstart.fill_in(
        template, kickstart.values(follows, config.tree, config.arch) | template.values
    )
    kickstart.check(filled, template, follows, config.tree)
    return filled.text
