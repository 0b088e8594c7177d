"""Whether hosts will take a commit under the ref that they follow: said before hours of work, and before
anything is promoted.
"""

from imagebuild import files
from imagebuild.errors import BuildError
from imagebuild.release_line.model import Config
from imagebuild.tools.ostree.binding import binding_of
from imagebuild.tools.ostree.repository import Repo


def check(config: Config, ref: str, commit: str, data: bytes) -> None:
    """Raise BuildError when a commit (its object, serialised), built under a ref, is bound to others than the
    one that hosts follow.
    """
    follows, collection = config.stable_ref(ref), _collection(config)
    bound = binding_of(data)
    refusal = bound.reason_to_refuse(follows, collection=collection)
    if not refusal:
        return
    if bound.refs is None or follows in bound.refs:
        remedy = (
            f"commit it again in a repository with that id (`ostree init --collection-id={collection}`), or"
            " take the id out of publish.repo"
        )
    else:
        other = f", or set publish.ref to a ref that it is bound to ({bound.refs[0]})" if bound.refs else ""
        remedy = f"commit it again with `ostree commit --bind-ref={follows}`{other}"
    raise BuildError(
        f"hosts that follow {follows} would refuse the commit {commit}, built as {ref}: it {refusal}",
        hint=remedy,
    )


def _collection(config: Config) -> str:
    """Return the collection id of the stable repository; empty when it has none, or is not there yet."""
    place = files.path_of(config.publish.repo or "")
    return (
        Repo(place).collection_id if config.publish.repo is not None and (place / "config").is_file() else ""
    )
