"""Hosts on which the criteria of test_boots.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_boots as boots
from tests.smoke.criteria.cases import Case, OnHost
from tests.smoke.healthy_host import BOOT_LINK, DEPLOYED, HEALTHY

OTHER = "cd" * 32

ELSEWHERE = DEPLOYED.replace("ab" * 32, OTHER)

BOOTED_ELSEWHERE = {
    f"readlink -f /sysroot{BOOT_LINK}": ELSEWHERE,
    "sh -c stat -L": f"1:2 /\n1:2 {ELSEWHERE}\n",
    f"cat {ELSEWHERE}.origin": HEALTHY[f"cat {DEPLOYED}.origin"],
}

CASES: dict[str, Case] = {
    "boots-the-released-commit": OnHost(
        run=boots.test_boots_the_released_commit,
        broken=[
            (BOOTED_ELSEWHERE, f"booted {OTHER}"),
            ({"sh -c stat -L": "1:2 /\n"}, "booted no deployment"),
            ({"ostree --repo=/sysroot/ostree/repo show": "'12.2'\n"}, "booted version '12.2'"),
            ({f"cat {DEPLOYED}.origin": f"[origin]\nrefspec={OTHER}\n"}, "upgrades would come from"),
        ],
    ),
}
