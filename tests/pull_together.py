"""Pulls two commits into one repository at the same time: what tests/tools/ostree/test_writers.py runs as a
process of its own.

python -m tests.pull_together same|own DIRECTORY FIRST_COMMIT FIRST_KEY SECOND_COMMIT SECOND_KEY URL…

Each commit is signed by its own key. A crash of libostree ends the process by a signal; anything else that is
wrong ends it with a traceback.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from imagebuild.errors import BuildError
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.ostree.server import Patience

QUICK = Patience(attempts=1, low_speed_seconds=60)


def pull_both(place: Path, remotes: tuple[Remote, Remote], commits: tuple[str, str]) -> None:
    """Pull in two threads, through two handles that were opened before either sets its remote."""
    handles = (Repo.ensure(place), Repo.ensure(place))
    together = Barrier(2)

    def pull(number: int) -> None:
        together.wait()
        handles[number].pull(remotes[number], commits[number], patience=QUICK)

    with ThreadPoolExecutor(2) as threads:
        for result in [threads.submit(pull, number) for number in range(2)]:
            result.result()
    for commit in commits:
        assert handles[0].fsck(commit) > 1


def refuses(place: Path, remote: Remote, commit: str) -> bool:
    """Whether a commit is not signed by the keys of a remote."""
    try:
        Repo(place).pull(remote, commit, patience=QUICK)
    except BuildError as error:
        return "is not signed by a key" in error.message
    return False


def main(
    remotes: str, directory: str, first: str, first_key: str, second: str, second_key: str, *urls: str
) -> None:
    """Pull both from each URL: through one remote that has both keys (`same`), or through one remote for each
    key (`own`).
    """
    keys, commits = (Path(first_key), Path(second_key)), (first, second)
    for number, url in enumerate(urls):
        place = Path(directory) / str(number)
        if remotes == "same":
            both = Remote(url=url, keys=keys, verify=True)
            pull_both(place, (both, both), commits)
            continue
        own = (Remote(url=url, keys=keys[:1], verify=True), Remote(url=url, keys=keys[1:], verify=True))
        pull_both(place, own, commits)
        assert refuses(place, own[0], second), "the first remote has the second one's key"
        assert refuses(place, own[1], first), "the second remote has the first one's key"


if __name__ == "__main__":
    main(*sys.argv[1:])
