"""Promotes, and is killed before a step (none: it is not): what tests/publish/test_promote.py runs as a
process of its own.

python -m tests.promote_killed CONFIG STORE DESTINATION STEP RELEASE…
"""

import os
import signal
import sys
from pathlib import Path

from imagebuild.destinations.registry import open_destination
from imagebuild.publish.admission import Promotion
from imagebuild.publish.promote import promote
from imagebuild.release_line import reading as config
from imagebuild.session.releases import signer_of


def main(settings: str, store: str, destination: str, stop: str, *places: str) -> None:
    """Promote until a step begins whose name starts with `stop`."""
    loaded = config.load(Path(settings), Path(store))

    def step(name: str) -> None:
        print(name, flush=True)
        if stop and name.startswith(stop):
            os.kill(os.getpid(), signal.SIGKILL)

    with signer_of(loaded) as signer:
        key = Path(store) / "work" / "promotion-key.asc"
        key.write_text(signer.public_key())
        wanted = Promotion(
            config=loaded,
            places=tuple(map(Path, places)),
            destination=open_destination(destination),
            source=Path(store) / "repo",
            keys=(key,),
            cache=Path(store),
        )
        promote(wanted, signer, step=step)


if __name__ == "__main__":
    main(*sys.argv[1:])
