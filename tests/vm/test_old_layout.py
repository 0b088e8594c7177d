"""Fedora 25's layout of kernel and initramfs: the demo tree, laid out so by hand, from pull to a booted
qcow2.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.pipeline import wire
from imagebuild.smoke.criteria.test_boots import test_boots_the_released_commit as boots_the_released_commit
from imagebuild.stages.tree import Pin
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from tests.old_layout import PLACES, in_old_layout
from tests.vm.conftest import REF
from tests.vm.wiring import Lab


@pytest.mark.slow
def test_a_tree_with_its_initramfs_in_ostree_boot_becomes_a_host(lab: Lab, tmp_path: Path) -> None:
    demo = lab.must(lab.pipeline.tree).value(lab.pipeline.tree)
    source = Repo.ensure(tmp_path / "source")
    source.pull(Remote(url=f"file://{demo.repo}", keys=(), verify=False), demo.commit)
    commit = in_old_layout(source, demo.commit, REF)
    tree = lab.settings.tree.model_copy(
        update={"url": f"file://{source.path}", "allow_unsigned": True, "gpg_keys": ()}
    )
    settings = lab.settings.model_copy(update={"tree": tree})
    old = replace(lab, settings=settings, pipeline=wire(settings, Pin(ref=REF, commit=commit), lab.host))
    qcow2 = next(step for step in old.pipeline.images if step.name.startswith("qcow2"))
    outcome = old.must(qcow2)
    made = outcome.value(old.pipeline.tree)
    assert made.kernel == demo.kernel
    with old.booted(made, outcome.value(qcow2).file, tmp_path / "evidence", form="qcow2") as boot:
        assert boot.host is not None, boot.problem
        boots_the_released_commit(boot.host, boot.expected)
        assert boot.host.succeeds("ls", "/" + PLACES[0]).count("vmlinuz-") == 1
