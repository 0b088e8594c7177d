"""A commit's history, as clients of its repository walk it: from parent to parent.

Hosts are told an older release by version or checksum, and look for it from where their ref points
(rpm-ostree 2018.7, src/daemon/rpmostreed-utils.c, rpmostreed_repo_pull_ancestry; "Version … not found"). A
commit that was composed in an empty repository has no parent, whatever was released before it.
"""

from collections.abc import Callable, Sequence

from imagebuild.tools.ostree.repository import Repo

# commits that are walked: a year of nightlies, each a request where the repository is a server
DEPTH = 400


def between(parent: Callable[[str], str | None], commit: str, older: str) -> tuple[list[str], str | None]:
    """Return the commits between one and an older one, and where its history ends without having met that:
    the last commit, None when it has.

    `parent` returns a commit's parent; None when it has none.
    """
    commits: list[str] = []
    for _ in range(DEPTH):
        before = parent(commits[-1] if commits else commit)
        if before == older:
            return commits, None
        if before is None or before == commit or before in commits:
            break
        commits.append(before)
    return commits, commits[-1] if commits else commit


def parents(repo: Repo) -> Callable[[str], str | None]:
    """Return what gives a commit's parent in a repository; of one that is not there, None."""
    return lambda commit: repo.parent(commit) if repo.has_commit_object(commit) else None


def lost(repo: Repo, commit: str, older: str) -> str | None:
    """Return why whoever walks a commit's history in a repository does not come to an older one; None when
    they do.
    """
    walked, end = between(parents(repo), commit, older)
    if end is None:
        return None
    return ending(commit, older, walked, there=repo.has_commit_object(end))


def ending(commit: str, older: str, walked: Sequence[str], *, there: bool) -> str:
    """Return the sentence about a history that was `walked` and does not come to the older one; its last
    commit is `there`, or not.
    """
    end = walked[-1] if walked else commit
    why = (
        f"it is not among the last {DEPTH}"
        if len(walked) >= DEPTH
        else f"{end} {'has no parent' if there else 'is not in the repository'}"
    )
    return f"the history of {commit} does not lead to {older}, the release before: {why}"
