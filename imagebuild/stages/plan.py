"""Plan a disk: a kickstart is parsed once, for a size and firmwares. Who makes or opens the disk reads the
Plan.

The live installer plans for itself, on the machine that it installs.
"""

from pathlib import Path

from imagebuild.deploy.ways import DiskSpec, plan_of
from imagebuild.kickstart.plan import Plan
from imagebuild.model import Kickstart, Toolbox, Tree


def plan_disk(out: Path, tree: Tree, toolbox: Toolbox, kickstart: Kickstart, spec: DiskSpec) -> Plan:
    """Return what a kickstart makes of a disk; its %pre sections are run for that, in the toolbox.

    The store has it as JSON. Raises BadKickstartError (with line, or the sums that do not fit).
    """
    del out  # the artifact is a value, without files
    return plan_of(tree, toolbox, kickstart, spec)
