"""A tree may ask for an /etc that begins as its own at every boot: then nothing lasts that an installation
writes there.

Whoever counts on it is told before the disk is made: what a kickstart promises is refused with its line, what
it merely sets is noted. Sources: ostree-prepare-root(1), "Configuration" (`etc.transient`); ostree 2026.4,
src/libotcore/otcore-prepare-root.c (otcore_mount_etc: an overlay in memory over the commit's /usr/etc, not
over the deployment's /etc).
"""

import re
from collections.abc import Iterator

from pykickstart.constants import KS_SCRIPT_POST

from imagebuild.config.prepare_root import PREPARE_ROOT
from imagebuild.kickstart import handlers
from imagebuild.kickstart.checked_root import line_of
from imagebuild.kickstart.layout import Layout
from imagebuild.kickstart.mount_points import TreeFiles
from imagebuild.kickstart.problems import Problems
from imagebuild.kickstart.reading import Reading

WHY = "the tree's /etc is transient: it begins as the tree's own at every boot"
IN_THE_TREE = (
    "compose it into the tree's /usr/etc, leave it to cloud-init at every boot, or let the tree keep its /etc"
    f" (no `transient` in /{PREPARE_ROOT})"
)
FSTAB, UNITS = "/usr/etc/fstab", "/usr/lib/systemd/system"
# what an installation writes there for a command that Anaconda wants, and that a host does without
SETTINGS = ("lang", "keyboard", "timezone", "timesource", "selinux")
MENTIONS_ETC = re.compile(r"(?<![\w/.-])/etc/[\w.-]")


def refuse(reading: Reading, layout: Layout, tree: TreeFiles, problems: Problems) -> None:
    """Refuse what a kickstart asks for and no host would have after its first boot."""
    for line, what in _lost(reading):
        problems.add(line, f"{what} would be lost: {WHY}", IN_THE_TREE)
    for mount in layout.mounts():
        # the boot loader is updated from the tree by whoever mounts the ESP for it
        if mount not in ("/", "/boot/efi") and not _mounts(tree, mount):
            problems.add(
                line_of(reading, mount),
                f"nobody would mount {mount}: {WHY}, and there is no line for it in {FSTAB} and no unit",
                f"compose the tree with a line for {mount} in {FSTAB} that finds it by its label, and give"
                " the kickstart's file system that --label",
            )


def notes(reading: Reading) -> Iterator[tuple[int, str]]:
    """Yield what is set and does not last: its line, and why."""
    for command in SETTINGS:
        for line in reading.lines_of(command):
            yield line, f"what `{command}` sets in /etc does not last: {WHY}"
    for script in reading.handler.scripts:
        if script.type == KS_SCRIPT_POST and MENTIONS_ETC.search(script.script):
            yield script.lineno, f"what this %post leaves in /etc does not last: {WHY}"
    for line in reading.lines_of("ostreesetup"):
        yield line, f"machine-id and ssh host keys are new at every boot: {WHY}"


def _lost(reading: Reading) -> Iterator[tuple[int, str]]:
    handler = reading.handler
    for user in handlers.data(handler, "user"):
        yield user.lineno, f"the account {user.name}"
    for group in handlers.data(handler, "group"):
        yield group.lineno, f"the group {group.name}"
    if handler.rootpw.password and not handler.rootpw.lock:
        yield handler.rootpw.lineno, "the password of root"
    for network in handlers.data(handler, "network"):
        if network.hostname:
            yield network.lineno, f"the host name {network.hostname}"
    for name in (*handler.services.enabled, *handler.services.disabled):
        yield handler.services.lineno, f"what is said of the service {name}"
    if handler.firewall.seen:
        yield handler.firewall.lineno, "what is said of the firewall"


def _mounts(tree: TreeFiles, mount: str) -> bool:
    """Whether the tree itself mounts a place: fstab(5), or a unit of that name (systemd.unit(5), "String
    Escaping for Inclusion in Unit Names").
    """
    text = (tree.content(FSTAB) or b"").decode("utf-8", "replace")
    rows = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    unit = mount.strip("/").replace("-", "\\x2d").replace("/", "-")
    return any(row[1:2] == [mount] for row in rows) or tree.has(f"{UNITS}/{unit}.mount")
