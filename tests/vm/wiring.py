"""Steps that only tests wire: disks of other kickstarts, and guests booted without the whole set of
criteria.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from imagebuild.cli.progress import View
from imagebuild.config.images import KickstartConfig
from imagebuild.deploy.ways import DiskSpec
from imagebuild.engine import graph
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import Cost, Step, step
from imagebuild.kinds import Controller, Firmware, Login
from imagebuild.model import Disk, Kickstart, Toolbox, Tree
from imagebuild.pipeline import Pipeline
from imagebuild.release_line.model import Config
from imagebuild.smoke.access import access_of
from imagebuild.smoke.first_boot import booted
from imagebuild.smoke.host.words import Boot
from imagebuild.smoke.trial import Bench, Promise, Scope, Subject, Terms, Trial
from imagebuild.stages.disk import install_disk
from imagebuild.stages.kickstart import render, values
from imagebuild.stages.plan import plan_disk
from imagebuild.stages.toolbox import make_toolbox
from imagebuild.tools import command
from imagebuild.wiring.builder import Builder

T = TypeVar("T")
BUDGET = Cost(cores=2, memory=6 << 30)


def write_text(out: Path, tree: Tree, text: str) -> Kickstart:
    """Write a kickstart as it is."""
    del tree
    (out / "kickstart.ks").write_text(text)
    return Kickstart(file=out / "kickstart.ks", syntax="F28")


@dataclass(frozen=True, kw_only=True)
class Lab:
    """The demo's pipeline, and what tests add to it."""

    settings: Config
    host: Builder
    pipeline: Pipeline
    store: Path

    def text(self, template: str = "debian-12-cloud.ks") -> str:
        """Return a rendered kickstart template."""
        return render(
            KickstartConfig(template=template, syntax="F28"),
            values(self.settings.the_ref(), self.settings.tree, self.settings.arch),
        )

    def toolbox(self) -> Step[Toolbox]:
        """The toolbox step, with the same key as the pipeline's."""
        return step(
            "toolbox", make_toolbox, self.pipeline.tree, tools={"mksquashfs": command.version("mksquashfs")}
        )

    def disk(
        self,
        name: str,
        text: str,
        *,
        ways: Sequence[str] | None = None,
        size: int = 6144,
        copy: int = 0,
        firmware: Sequence[Firmware] = tuple(Firmware),
    ) -> Step[Disk]:
        """Install a disk of `size` MiB from a kickstart's text; `copy` makes another key of the same."""
        kickstart = step(f"kickstart {name}", write_text, self.pipeline.tree, text)
        spec = DiskSpec(size=size, firmware=tuple(firmware), populate=tuple(ways or self.host.populate))
        tree, toolbox = self.pipeline.tree, self.toolbox()
        plan = step(f"plan {name}", plan_disk, tree, toolbox, kickstart, spec)
        return step(
            f"disk {name}", install_disk, tree, toolbox, plan, spec.populate, tools={"copy": str(copy)}
        )

    def again(self, one: Step[T]) -> Step[T]:
        """The same step under another key: it is built once more."""
        return dataclasses.replace(one, tools={**one.tools, "copy": "again"})

    def build(self, *goals: Step[Any], jobs: int = 2) -> graph.Outcome:
        """Build goals in the session's store."""
        with ThreadPoolExecutor(jobs) as executor:
            return graph.build(
                goals, DirectoryStore(self.store), executor, budget=BUDGET, listener=View(Console())
            )

    def must(self, *goals: Step[Any]) -> graph.Outcome:
        """Build goals that must succeed."""
        outcome = self.build(*goals)
        assert not outcome.failed, [
            f"{one.name}: {error.message}\n{error.log}" for one, error in outcome.failed.items()
        ]
        return outcome

    def bench(self, firmware: Firmware) -> Bench:
        """What guests run on."""
        accelerator, smoke = self.host.accelerator, self.settings.smoke
        return Bench(
            firmware=firmware, accelerator=accelerator, cores=accelerator.cores, memory=smoke.memory << 20
        )

    def terms(self, *, storage: str, login: Login = Login.CLOUD_INIT) -> Terms:
        """What the demo's release line promises."""
        smoke, tree = self.settings.smoke, self.settings.tree
        return Terms(
            login=login,
            user=smoke.user,
            storage=storage,
            remote=tree.remote,
            update_url=tree.update_url,
            access=access_of(self.settings.access),
            allowed_failed_units=tuple(smoke.failed_units_allowed),
            why_no_previous="a test",
        )

    @contextlib.contextmanager
    def booted(
        self,
        tree: Tree,
        disk: Path,
        evidence: Path,
        *,
        form: str = "raw",
        storage: str = "podman-overlay",
        firmware: Firmware = Firmware.BIOS,
        controller: Controller = Controller.VIRTIO,
        login: Login = Login.CLOUD_INIT,
    ) -> Iterator[Boot]:
        """Boot a disk on an overlay, for a criterion or two."""
        evidence.mkdir(parents=True, exist_ok=True)
        trial = Trial(
            subject=Subject(artifact=evidence.name, disk=disk, format=form, controller=controller),
            bench=self.bench(firmware),
            promise=Promise(
                terms=self.terms(storage=storage, login=login),
                commit=tree.commit,
                version=tree.version,
                ref=tree.ref,
                host_kind=tree.host_kind,
            ),
            scope=Scope(),
            evidence=evidence,
        )
        with booted(trial) as boot:
            yield boot
