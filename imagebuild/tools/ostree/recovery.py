"""A commit that only passes for whole: its damaged objects are removed, and pulled again."""

from imagebuild import steplog
from imagebuild.errors import BuildError
from imagebuild.tools.ostree import damage
from imagebuild.tools.ostree.library import OSTree, readable
from imagebuild.tools.ostree.object_store import ObjectStore, object_name


def forget_damage(store: ObjectStore, commit: str) -> bool:
    """Return whether a commit passes for whole, but is not; it does not any more then: the next pull looks
    for all that it lacks.

    A commit that is being pulled (partial) may lack what it likes; what is there must be what its name says.
    """
    if not store.handle.has_object(OSTree.ObjectType.COMMIT, commit, None)[1]:
        return False
    whole = store.has(commit)
    damaged = [
        name for name in damage.damage(store.handle, commit) if whole or store.object_path(*name).exists()
    ]
    if not damaged:
        return False
    steplog.note(
        f"{len(damaged)} objects of {commit} are missing in {store.path}, or damaged, such as"
        f" {object_name(*damaged[0])}: pulling again"
    )
    for name in damaged:
        store.object_path(*name).unlink(missing_ok=True)
    forget_damaged_metadata(store)
    with readable(f"commit {commit} cannot be marked as partial in {store.path}"):
        store.handle.mark_commit_partial(commit, True)
    return True


def forget_damaged_metadata(store: ObjectStore) -> bool:
    """Remove every directory's object that is not what its name says, whatever it belongs to; return whether
    there was one.
    """
    damaged = damage.damaged_metadata(store.path)
    for file in damaged:
        steplog.note(f"{file} is damaged: it is removed, and pulled again")
        file.unlink(missing_ok=True)
    return bool(damaged)


def check_whole(store: ObjectStore, commit: str) -> None:
    """Raise BuildError when a commit lacks an object even after another pull."""
    damaged = damage.damage(store.handle, commit)
    if damaged:
        raise BuildError(
            f"commit {commit} is not whole in {store.path}: object {object_name(*damaged[0])} is missing or"
            " damaged, also after another pull",
            hint=f"check the file system; then remove {store.path} and run again: everything is pulled anew",
        )
