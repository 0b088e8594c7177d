"""The installer ISO through the lorax library (Fedora's own way), which runs in a child process:
`lorax_child.py`.

The child has a mount namespace of its own, so that nothing it leaves mounted can be reached by whoever
removes its directories; it is interrupted before it is killed, and has time to clean up. What it made is
looked into by the stage.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagebuild import steplog
from imagebuild.errors import BuildError, EvidenceError, MissingToolError
from imagebuild.installers.installer import Request
from imagebuild.installers.lorax import failure
from imagebuild.installers.lorax import sources as lorax_sources
from imagebuild.installers.lorax import variables as lorax_variables
from imagebuild.installers.lorax.about import CHILD, HINT, about, environment, reason_not_root
from imagebuild.installers.lorax.inputs import paths
from imagebuild.installers.lorax.metadata import shown
from imagebuild.installers.lorax.options import LoraxConfig
from imagebuild.installers.lorax.request import (
    INSTALLER_SIZE,
    PATIENCE_SECONDS,
    PLAIN,
    Templates,
    child_request,
)
from imagebuild.installers.unattended import remaster
from imagebuild.tools import command, gpg, temporary
from imagebuild.tools.environment import outward

GIB = 1 << 30
# of an installer's packages as downloaded, xz or zstd (Fedora 26's anaconda needs some 450 packages); what
# squashfs leaves of a root file system; and how many images of it lie beside each other: install.img,
# boot.iso, the one with the kickstart
PACKAGES_SIZE, COMPRESSED, COPIES = GIB, 0.55, 3
CANNOT = 3
MINUTE = 60
GIVEN = lorax_variables.given(None)


def build(out: Path, request: Request) -> Path:
    """Run lorax, put the unattended kickstart on what it made, and return the ISO. Raises BuildError,
    MissingToolError.

    Everything that is made on the way lies in a directory of its own below installer.lorax.tmp, and in one
    beside the ISO.
    """
    options = request.config.options(LoraxConfig)
    lorax = about(options)
    if reason := lorax.error or reason_not_root():
        raise MissingToolError(f"lorax cannot be used: {reason}", hint=HINT)
    templates, arch_templates = paths(options)
    work = out / "work"
    work.mkdir(exist_ok=True)
    variables = template_variables(request, _keys(request, work))
    # Mako is there where lorax is used
    from imagebuild.installers.lorax.templates import check_templates  # noqa: PLC0415

    known = lorax_variables.version_of(lorax.version)
    check_templates(templates, lorax_variables.given(known) | set(variables), "installer.lorax.templates")
    check_templates(
        arch_templates,
        lorax_variables.given(known, arch=True) | set(variables),
        "installer.lorax.arch_templates",
    )
    steplog.note(f"lorax {lorax.version or 'of unknown version'} in {lorax.path}")
    _check_space(request, out, nested=not lorax.library)
    with (
        temporary.directory("lorax", base=Path(options.tmp)) as place,
        temporary.within(out, "lorax") as beside,
    ):
        made = beside / "made"
        given = Templates(runtime=templates, arch=arch_templates, variables=variables)
        told = child_request(request, work, made, given, place=place)
        (work / "request.json").write_text(json.dumps(told, indent=1))
        _run_child(
            request, work / "request.json", work / "logs", {"installer.lorax.tmp": place, "the store": out}
        )
        return _finished(out, request, made)


def _finished(out: Path, request: Request, made: Path) -> Path:
    """Return the finished ISO of what lorax made."""
    treeinfo, image = made / ".treeinfo", made / "images" / "boot.iso"
    for file in (treeinfo, image, made / ".discinfo"):
        if not file.is_file():
            raise BuildError(
                f"lorax succeeded, but made no {file.relative_to(made)}",
                hint="the step's log has what it said",
            )
    set_times(made, request.epoch)
    shutil.copyfile(treeinfo, request.treeinfo)
    target = out / f"{request.name}.iso"
    if request.unattended is None:
        image.rename(target)
    else:
        remaster.add_kickstart(
            image, request.unattended.file, target, syntax=request.unattended.syntax, default=False, keep=True
        )
    return target


def set_times(made: Path, epoch: int) -> None:
    """Let .treeinfo and .discinfo of lorax's output be of a time: those before 29.28 and 30.6 know no
    SOURCE_DATE_EPOCH (src/pylorax/treeinfo.py).

    What they write is `timestamp = 1501000000.123` in .treeinfo's [general], and the first line of .discinfo.
    """
    treeinfo, discinfo = made / ".treeinfo", made / ".discinfo"
    treeinfo.write_text(
        re.sub(r"(?m)^(timestamp\s*=\s*)\d+(\.\d+)?[ \t]*$", rf"\g<1>{epoch}", treeinfo.read_text())
    )
    _, end, others = discinfo.read_text().partition("\n")
    discinfo.write_text(f"{epoch}.000000{end}{others}")


def _check_space(request: Request, out: Path, *, nested: bool) -> None:
    """Check that what lorax makes fits where it is made. Raises BuildError, which says what for."""
    tmp = Path(request.config.options(LoraxConfig).tmp)
    if not tmp.is_dir() or not os.access(tmp, os.W_OK):
        raise BuildError(
            f"installer.lorax.tmp: {tmp} is not a directory that can be written to",
            hint="it needs several GiB of room",
        )
    if not PLAIN.fullmatch(str(tmp.absolute())):
        raise BuildError(
            f"installer.lorax.tmp: lorax's own templates cannot work below {tmp}",
            hint="name one that has only letters, digits and . _ - / in it, such as /var/tmp",
        )
    root, tree = INSTALLER_SIZE, request.tree.size * 11 // 10
    image = int((root + tree) * COMPRESSED)
    needs = {
        tmp: {
            "its packages": PACKAGES_SIZE,
            "the installer's root": root,
            "the tree in it": tree,
            "what it becomes": image,
        },
        out: {"the ISO, and what it is made of": COPIES * image},
    }
    if nested:
        needs[tmp]["the ext4 image that it is copied to"] = root + tree
    said = failure.not_enough(needs, {tmp: "installer.lorax.tmp", out: "the store"})
    if said:
        raise BuildError(
            said,
            hint="give installer.lorax.tmp a larger file system; imagebuild gc frees what older builds left",
        )


def _run_child(request: Request, asked: Path, logs: Path, places: Mapping[str, Path]) -> None:
    options = request.config.options(LoraxConfig)
    logs.mkdir()
    # a namespace of its own: what it leaves mounted is gone with it
    argv: list[str | Path] = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--",
        Path(options.python).absolute(),
        CHILD,
        asked,
    ]
    tmp = str(places["installer.lorax.tmp"])
    found = outward() | environment(options) | {"SOURCE_DATE_EPOCH": str(request.epoch), "TMPDIR": tmp}
    process = command.Process(
        argv, env=found, cwd=Path(tmp), shown=["lorax", asked.name], patience=PATIENCE_SECONDS
    )
    try:
        status = process.wait(options.timeout_minutes * MINUTE)
    except TimeoutError as error:
        process.end()
        raise _kept(
            f"lorax did not end within {options.timeout_minutes} minutes",
            "installer.lorax.timeout_minutes",
            logs,
        ) from error
    except BaseException:
        process.end()
        raise
    if status != 0:
        raise _failed(process.output() + process.complaint(), status, logs, request, places)


def _failed(said: str, status: int, logs: Path, request: Request, places: Mapping[str, Path]) -> BuildError:
    options = request.config.options(LoraxConfig)
    text = lorax_sources.without_logins(
        failure.reason(logs, said), [*options.sources, *options.mirrors, options.proxy or ""]
    )
    full = failure.full_disk(text, places)
    message = f"lorax failed (exit status {status}){': ' + full if full else ''}:\n{text}"
    message += failure.sources_named(
        text, [shown(url) for url in options.sources], [shown(url) for url in options.mirrors]
    )
    hint = "use another lorax, or change installer.lorax" if status == CANNOT else ""
    return _kept(message, hint or ("make room there, or choose another place" if full else ""), logs)


def _kept(message: str, hint: str, logs: Path) -> BuildError:
    """Return an error that keeps lorax's own logs, and nothing else of what it made: they are moved with the
    step's log.
    """
    for other in logs.parent.iterdir():
        if other != logs:
            shutil.rmtree(other, ignore_errors=True) if other.is_dir() else other.unlink()
    names = ", ".join(sorted(file.name for file in logs.iterdir()))
    where = (
        f"the log has what it said; {names} lie in {logs.parent.name}/{logs.name} of the step's output"
        if names
        else "the log has what it said"
    )
    return EvidenceError(
        message, hint=f"{hint}; {where}" if hint else where, log=steplog.current(), evidence=logs
    )


def _keys(request: Request, work: Path) -> list[Path]:
    """Return the keys as Anaconda's libostree finds them: binary, each with the suffix .gpg."""
    found = []
    for number, key in enumerate(request.keys):
        found.append(work / f"{number:02}.gpg")
        gpg.dearmored(key, found[-1])
    return found


def template_variables(request: Request, keys: Sequence[Path] = ()) -> dict[str, str]:
    """Return what our templates and those of the configuration may use; the configuration's own come last."""
    return {
        "ostree_source": str(request.tree.repo),
        "ostree_ref": request.tree.follows,
        "ostree_commit": request.tree.commit,
        "ostree_osname": request.source.osname,
        "ostree_remote": request.source.remote,
        "ostree_update_url": request.source.update_url,
        "ostree_defaults": str(request.defaults.file),
        "ostree_keys": "\n".join(str(key) for key in keys),
        **request.config.options(LoraxConfig).variables,
    }
