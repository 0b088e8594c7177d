"""A trial of nothing, and what is expected of a healthy host of the demo's ref."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from imagebuild.kinds import Controller, Firmware, Login
from imagebuild.smoke.host.expected import ContainerRegistry, Expected
from imagebuild.smoke.trial import Bench, Promise, Scope, Subject, Terms, Trial
from imagebuild.tools.accelerator import Accelerator

COMMIT = "ab" * 32
TERMS = Terms(
    login=Login.CLOUD_INIT,
    user="debian",
    storage="podman-overlay",
    remote="debian-atomic",
    update_url="https://ostree.example.org/debian",
)
PROMISE = Promise(
    terms=TERMS, commit=COMMIT, version="12.3", ref="debian/12/x86_64/atomic-host", host_kind="ostree"
)
EXPECTED = Expected(
    promise=PROMISE,
    hostname="smoke-1234",
    user="debian",
    public_key="ssh-ed25519 AAAAC3Nz test",
    script_marker="imagebuild-1234",
    registry=ContainerRegistry(address="10.0.2.100:5000", authority="PEM"),
    web="http://10.0.2.100/hello",
    grown=1 << 30,
)
REFSPEC = PROMISE.refspec


TRIAL = Trial(
    subject=Subject(artifact="a", disk=Path("/none"), format="raw", controller=Controller.VIRTIO),
    bench=Bench(
        firmware=Firmware.BIOS,
        accelerator=Accelerator(name="tcg", slowness=1, reason=""),
        cores=1,
        memory=1,
    ),
    promise=Promise(
        terms=Terms(login=Login.CLOUD_INIT, user="u", storage="s", remote="r", update_url="u"),
        commit="c",
        version="1",
        ref="r",
        host_kind="ostree",
    ),
    scope=Scope(),
    evidence=Path("/none"),
)


def trial(evidence: Path, **changed: Any) -> Trial:
    """Return a trial of nothing; each change goes to the record that has a field of that name."""
    made = replace(TRIAL, evidence=evidence)
    for name, value in changed.items():
        records = {part: getattr(made, part) for part in ("subject", "bench", "promise", "scope")}
        (part,) = [part for part, record in records.items() if hasattr(record, name)] or ["terms"]
        if part == "terms":
            terms = replace(made.promise.terms, **{name: value})
            made = replace(made, promise=replace(made.promise, terms=terms))
        else:
            made = replace(made, **{part: replace(records[part], **{name: value})})
    return made


def expected(**changed: Any) -> Expected:
    """Return what is expected of a healthy host, changed like `trial`."""
    own = {name: value for name, value in changed.items() if hasattr(EXPECTED, name)}
    promise = {name: value for name, value in changed.items() if name not in own and hasattr(PROMISE, name)}
    terms = {name: value for name, value in changed.items() if name not in (own | promise)}
    return replace(EXPECTED, promise=replace(PROMISE, terms=replace(TERMS, **terms), **promise), **own)
