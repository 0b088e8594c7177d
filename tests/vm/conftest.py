"""What the `vm` tests share: the demo tree, composed once (cached between checkouts), and what was made from
it.
"""

import fcntl
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from imagebuild import steplog
from imagebuild.composers import registry as composers
from imagebuild.composers.composer import Job
from imagebuild.config.places import cache_directory
from imagebuild.deploy.ways import choose_ways
from imagebuild.engine.store import remove
from imagebuild.installers.live.options import LiveConfig
from imagebuild.model import IsoImage, Tree
from imagebuild.pipeline import Pipeline, wire
from imagebuild.release_line import reading as config
from imagebuild.release_line.model import Config
from imagebuild.stages.tree import pin
from imagebuild.tools import accelerator
from imagebuild.wiring.builder import Builder
from tests.data import ROOT
from tests.vm.wiring import Lab

REF = "debian/12/x86_64/atomic-host"
# bytes: disks and media are larger, logs and reports are not
LARGE = 16 << 20


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory boots guests or starts the appliance."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.vm)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep no disks of a test that passed, for they would fill the machine.

    Its small files stay: pytest would take them, too (`tmp_path_retention_policy = "failed"`), but on ext4
    without a journal whatever is made in the five minutes after a file was removed looks at each such inode
    first (Linux, fs/ext4/ialloc.c, `recently_deleted`), and a tree has thirty thousand files.
    """
    report = yield
    if report.when == "call" and report.passed and isinstance(item, pytest.Function):
        place = item.funcargs.get("tmp_path")
        for file in place.rglob("*") if isinstance(place, Path) else ():
            if file.is_file() and not file.is_symlink() and file.stat().st_size > LARGE:
                file.unlink()
    return report


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new store: nothing that an earlier run found out counts. Only the composed tree is kept between runs,
    being dear.
    """
    place = tmp_path_factory.mktemp("store")
    composed = cache_directory() / "test-compose"
    composed.mkdir(parents=True, exist_ok=True)
    (place / "compose").symlink_to(composed)
    with (composed / "in-use").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield place
    remove(place)


@pytest.fixture(scope="session")
def settings(store: Path) -> Config:
    """The configuration of the demo tree, which has been composed by now; its ISO compressed so that emulated
    machines read it quickly.
    """
    loaded = config.load(ROOT / "configs" / "debian-12.yaml", store)
    assert loaded.installer is not None
    loaded = loaded.model_copy(
        update={"installer": loaded.installer.model_copy(update={"live": LiveConfig(compression="lz4")})}
    )
    assert loaded.compose is not None
    job = Job(directory=store / "compose", ref=REF, tree=loaded.tree, cache=cache_directory())
    with steplog.writing_to(store / "compose" / "compose.log"):
        composers.compose(job, loaded.compose)
    return loaded


@pytest.fixture(scope="session")
def build_host(store: Path) -> Builder:
    """What this builder can do."""
    return Builder(
        repo=store / "repo", populate=choose_ways(None)[0], accelerator=accelerator.probe(cache_directory())
    )


@pytest.fixture(scope="session")
def pipeline(settings: Config, build_host: Builder) -> Pipeline:
    """The graph of the demo tree."""
    return wire(settings, pin(settings.tree, REF), build_host)


@pytest.fixture(scope="session")
def lab(settings: Config, build_host: Builder, pipeline: Pipeline, store: Path) -> Lab:
    """What tests wire disks and guests with."""
    return Lab(settings=settings, host=build_host, pipeline=pipeline, store=store)


@pytest.fixture(scope="session")
def image(lab: Lab) -> IsoImage:
    """The demo's ISO, as the pipeline makes it."""
    (made,) = lab.pipeline.isos
    outcome = lab.must(made)
    found: IsoImage = outcome.value(made)
    return found


@pytest.fixture(scope="session")
def tree(lab: Lab) -> Tree:
    """The demo's tree."""
    outcome = lab.must(lab.pipeline.tree)
    found: Tree = outcome.value(lab.pipeline.tree)
    return found
