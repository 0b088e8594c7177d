"""Which menu the boot loader shows, where a kickstart says so: a section of its own, for the language has no
option for it.

    %addon org_imagebuild --boot-menu=entries
    %end

Sections %addon are where the language is extended (pykickstart's documentation, "Chapter 4. Add-on
configuration"); Anaconda leaves those that it has no add-on for alone.
"""

from imagebuild.kickstart.problems import Problems
from imagebuild.kickstart.reading import Reading, Section
from imagebuild.kinds import BootMenu

NAME = "org_imagebuild"
OPTION = "--boot-menu"


def is_ours(section: Section) -> bool:
    """Whether a section speaks to imagebuild."""
    return section.words[:2] == ("%addon", NAME)


def boot_menu(reading: Reading) -> BootMenu | None:
    """Return the menu that a kickstart asks for; None: the tree decides. Its section was not refused."""
    words = [word for section in reading.sections if is_ours(section) for word in section.words[2:]]
    return BootMenu(words[-1].partition("=")[2]) if words else None


def refuse(reading: Reading, problems: Problems) -> None:
    """Refuse what a section of ours says and nobody understands."""
    for section in filter(is_ours, reading.sections):
        values = [f"{OPTION}={menu}" for menu in BootMenu]
        wrong = [word for word in section.words[2:] if word not in values]
        if wrong or section.body or len(section.words) < 3:
            said = wrong or section.body or ["nothing"]
            problems.add(
                section.line, f"%addon {NAME}: {said[0]} is not understood", f"it takes {' or '.join(values)}"
            )
