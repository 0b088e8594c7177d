"""What an artifact has outside its directory, and how that travels with it: a pulled commit lies in the
store's one repository, which all trees share.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from imagebuild.engine.store import StoredArtifact


class Carrier(Protocol):
    """Carries what artifacts of one kind have elsewhere below a store's root. `record` may be one whose files
    are not here yet.
    """

    def there(self, root: Path, record: StoredArtifact) -> bool:
        """Whether everything is in the store at `root`."""
        ...

    def sources(self, root: Path, record: StoredArtifact) -> Mapping[str, Path]:
        """Return the files that are sent along, by names of their own. Raises BuildError."""
        ...

    def expects(self, name: str, size: int) -> bool:
        """Whether a file of that name and size may be among them."""
        ...

    def receive(self, root: Path, record: StoredArtifact, place: Path) -> None:
        """Put files, which lie below `place` by their names and may be moved, where they belong. Raises
        BuildError.
        """
        ...


Carriers = Mapping[str, Carrier]
