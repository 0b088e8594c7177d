"""The signed lists of a release: a CHECKSUM file in each directory of downloads, and one of all the rest."""

from dataclasses import replace
from pathlib import Path

from imagebuild.publish.facts import Facts
from imagebuild.publish.names import Names
from imagebuild.tools.checksum import HashedFile, hashed, text_of
from imagebuild.tools.gpg import Signer


def sign(
    work: Path, names: Names, described: Facts, signer: Signer, *, detached: bool
) -> dict[str, HashedFile]:
    """Write every CHECKSUM file; return path -> entry of everything listed, the directories' CHECKSUM files
    among it.
    """
    listed = {
        fact.path: HashedFile(name=fact.path, size=fact.size, sha256=fact.sha256)
        for fact in described.downloads
    }
    if detached:
        for path in list(listed):
            signer.detach(work / path, work / f"{path}.sig")
            listed[f"{path}.sig"] = hashed(work / f"{path}.sig", f"{path}.sig")
    for checksum in names.checksums:
        mine = [
            replace(entry, name=Path(path).name)
            for path, entry in listed.items()
            if names.checksum_of(path) == checksum
        ]
        (work / checksum).write_text(signer.clearsign(text_of(mine)))
    rest = sorted(
        str(file.relative_to(work))
        for file in work.rglob("*")
        if file.is_file() and str(file.relative_to(work)) not in listed
    )
    entries = {path: hashed(work / path, path) for path in rest}
    (work / names.manifest).write_text(signer.clearsign(text_of(entries.values())))
    return listed | entries
