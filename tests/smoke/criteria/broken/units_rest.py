"""Hosts on which the criteria of test_units_rest.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_units_rest as units_rest
from tests.smoke.criteria.cases import Case, OnHost

LOOK = "sh -c # what units do"
# systemd 252 of Debian 12: a service at rest, one that was restarted once, and a device that nobody announced
AT_REST = """NRestarts=0
Id=ssh.service
ActiveState=active
SubState=running

NRestarts=1
Id=systemd-resolved.service
ActiveState=active
SubState=running

Id=dev-root.device
ActiveState=activating
SubState=tentative
"""
RESTLESS = "\nNRestarts=7\nId=fault.service\nActiveState=activating\nSubState=auto-restart\n"
STOPPING = "\nNRestarts=0\nId=fault.service\nActiveState=deactivating\nSubState=stop-post\n"
REST = "=jobs\n=restarts\n"
JOBS = "=jobs\n 161 fault.service start waiting\n 99 dev-none.device start running\n=restarts\n"
# systemd 233 of Fedora 26, which has no NRestarts
OLD = """Id=sshd.service
ActiveState=active
SubState=running

=jobs
=restarts
fault.service: Service hold-off time over, scheduling restart.
fault.service: Service hold-off time over, scheduling restart.
"""

CASES: dict[str, Case] = {
    "no-unit-restarts-again-and-again-or-waits-for-ever": OnHost(
        run=units_rest.test_no_unit_restarts_again_and_again_or_waits_for_ever,
        broken=[
            ({LOOK: f"{AT_REST}{RESTLESS}\n{REST}"}, "fault.service was restarted 7 times"),
            ({LOOK: f"{AT_REST}{STOPPING}\n{REST}"}, r"fault.service: deactivating (stop-post\)"),
            ({LOOK: f"{AT_REST}\n{JOBS}"}, "dev-none.device: its start job is running; fault.service"),
            ({LOOK: OLD}, "fault.service was restarted 2 times"),
        ],
    ),
}
