"""Where the files of one architecture lie in a compose.

A compose of one architecture has them at its top. One of several has everything that is an architecture's own
in directories that are called after it, as downloads are in any case (VARIANT/ARCH, pungi's paths.compose):

    VARIANT/ARCH/{images,iso,os}/                  downloads, each directory with its signed list
    metadata/ARCH/, evidence/ARCH/                 facts, provenance, changes, commit; reports and evidence
    COMPOSE_ID-ARCH-CHECKSUM                       the signed list of these
    metadata/{composeinfo,images}.json             of all, as Fedora's composes have them (productmd)
    index.html announcement.txt COMPOSE_ID STATUS  of all
    COMPOSE_ID-CHECKSUM                            the signed list of what is of all, and of the lists above

so that another architecture joins it without a change to what is there of the others.
"""

from dataclasses import dataclass

FACTS = "release.json"
COMPOSEINFO, IMAGES = "metadata/composeinfo.json", "metadata/images.json"
FINISHED = "FINISHED\n"
PAGE, MAIL, KEY, ID, STATUS = "index.html", "announcement.txt", "RELEASE-KEY.asc", "COMPOSE_ID", "STATUS"
# what is of all architectures of a compose of several, besides its signed list
COMMON = (PAGE, MAIL, KEY, ID, STATUS, COMPOSEINFO, IMAGES)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Directories of one architecture below a compose; `joint`: others may be there, too."""

    arch: str
    joint: bool

    @property
    def metadata(self) -> str:
        """The directory of what is known of it."""
        return f"metadata/{self.arch}" if self.joint else "metadata"

    @property
    def facts(self) -> str:
        """The file of what is known of it."""
        return f"{self.metadata}/{FACTS}"

    @property
    def fragment(self) -> str:
        """The file of its part of the page of a joint compose."""
        return f"{self.metadata}/page.html"

    @property
    def evidence(self) -> str:
        """The directory of the evidence of its tests."""
        return f"evidence/{self.arch}" if self.joint else "evidence"

    @property
    def reports(self) -> str:
        """What is put before the names of its reports."""
        return f"{self.evidence}/" if self.joint else ""


def manifest_of(compose_id: str, arch: str = "") -> str:
    """Return the name of the signed list of an architecture, or that of a joint compose."""
    return f"{compose_id}-{arch}-CHECKSUM" if arch else f"{compose_id}-CHECKSUM"
