"""Steps of the releases that hosts come from: their trees, and the static deltas from them."""

from dataclasses import dataclass

from imagebuild.config.tree import TreeConfig
from imagebuild.engine.steps import Cost, Step, Unkeyed, step
from imagebuild.model import Delta, Tree
from imagebuild.release_line.model import Config
from imagebuild.stages.delta import make_delta
from imagebuild.stages.tree import Before, Earlier, pull_commit
from imagebuild.wiring.builder import AT_ORIGIN, MIB, Builder, versions

# generating reads both trees, and holds what differs of a file twice (ostree-repo-static-delta-compilation.c)
DELTA_MEMORY = 1024 * MIB


@dataclass(frozen=True, kw_only=True)
class EarlierSteps:
    """The trees of earlier releases, the one before first, and the deltas from it and from the release line
    before.
    """

    pulled: tuple[Step[Tree], ...]
    deltas: tuple[Step[Delta], ...]


def earlier_steps(config: Config, builder: Builder, tree: Step[Tree], before: Before) -> EarlierSteps:
    """Wire what hosts come from. Their refs stay where they are."""
    repo = Unkeyed(builder.repo)
    pulled, deltas = [], []
    if before.pin is not None:
        pulled.append(
            step("pull previous", pull_commit, before.pin, config.tree, repo, before.between, cost=AT_ORIGIN)
        )
        deltas.append(_delta_step("delta previous", tree, pulled[0]))
    # these are deployed by their commits alone: nobody walks there
    pulled += [
        step(f"pull previous {older.name}", pull_commit, older.pin, config.tree, repo, (), cost=AT_ORIGIN)
        for older in before.others
    ]
    if before.line is not None:
        source = _source_of(config.tree, before.line)
        pulled.append(
            step("pull line before", pull_commit, before.line.pin, source, repo, (), cost=AT_ORIGIN)
        )
        deltas.append(_delta_step("delta line before", tree, pulled[-1]))
    return EarlierSteps(pulled=tuple(pulled), deltas=tuple(deltas))


def _source_of(tree: TreeConfig, line: Earlier) -> TreeConfig:
    """Return where a commit of another line is pulled from; it is checked by this line's keys."""
    if not line.url:
        return tree
    return tree.model_copy(update={"url": line.url, "tls": None, "proxy": None})


def _delta_step(name: str, tree: Step[Tree], older: Step[Tree]) -> Step[Delta]:
    return step(
        name,
        make_delta,
        tree,
        older,
        tools=versions("ostree"),
        cost=Cost(cores=1, memory=DELTA_MEMORY),
    )
