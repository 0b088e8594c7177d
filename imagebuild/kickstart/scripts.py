"""The sections of a kickstart that are scripts: %pre, %post, %onerror."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pykickstart.constants import KS_SCRIPT_ONERROR, KS_SCRIPT_POST, KS_SCRIPT_PRE

from imagebuild.kickstart.reading import Reading


@dataclass(frozen=True, kw_only=True)
class Script:
    """A %post section; `inside`: run in the installed system, otherwise (--nochroot) in the toolbox with the
    system at /mnt/sysimage.
    """

    text: str
    interpreter: str
    must_succeed: bool
    line: int
    inside: bool = True
    log: str = ""


def post_scripts(handler: Any) -> Iterator[Script]:
    """Yield the %post sections: the %pre ones ran before this kickstart was read
    (imagebuild.deploy.prescript), %onerror is the live installer's (imagebuild.live.on_error), others were
    refused.
    """
    for script in handler.scripts:
        if script.type == KS_SCRIPT_POST:
            yield Script(
                text=script.script,
                interpreter=script.interp,
                must_succeed=bool(script.errorOnFail),
                line=script.lineno,
                inside=bool(script.inChroot),
                log=script.logfile or "",
            )


def pre_scripts(reading: Reading) -> list[Script]:
    """Return the %pre sections of a kickstart."""
    return _outside(reading, KS_SCRIPT_PRE)


def error_scripts(reading: Reading) -> list[Script]:
    """Return the %onerror sections of a kickstart."""
    return _outside(reading, KS_SCRIPT_ONERROR)


def _outside(reading: Reading, kind: int) -> list[Script]:
    return [
        Script(
            text=script.script,
            interpreter=script.interp,
            must_succeed=bool(script.errorOnFail),
            line=script.lineno,
            log=script.logfile or "",
        )
        for script in reading.handler.scripts
        if script.type == kind
    ]
