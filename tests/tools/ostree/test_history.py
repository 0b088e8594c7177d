"""The history of a commit is walked to an older one, or it is said where it ends."""

from pathlib import Path

from imagebuild.tools.ostree import history, succession
from imagebuild.tools.ostree.repository import Repo


def test_commits_between_two_releases_are_walked_and_missed(
    tmp_path: Path, candidate: tuple[Path, str]
) -> None:
    repo, commit = candidate
    previous = Repo(repo).parent(commit)
    assert previous is not None
    latest, _ = succession.relative(Repo(repo), commit, version="1.3", parent=commit, timestamp=1_700_000_300)
    assert history.lost(Repo(repo), latest, previous) is None
    assert history.between(Repo(repo).parent, latest, previous) == ([commit], None)
    Repo(repo).object_path(4, commit).unlink()
    assert (history.lost(Repo(repo), latest, previous) or "").endswith(f"{commit} is not in the repository")
    assert history.lost(Repo(repo), latest, "ab" * 32)


def test_a_history_is_not_walked_for_ever() -> None:
    asked: list[str] = []

    def parent(commit: str) -> str:
        asked.append(commit)
        return f"{int(commit, 16) + 1:064x}"

    walked, end = history.between(parent, "0" * 64, "f" * 64)
    assert (len(asked), end) == (history.DEPTH, f"{history.DEPTH:064x}")
    assert history.ending("0" * 64, "f" * 64, walked, there=True).endswith(
        "the release before: it is not among the last 400"
    )
    # damaged ones may go in a circle
    assert history.between(lambda commit: commit, "0" * 64, "f" * 64) == ([], "0" * 64)
