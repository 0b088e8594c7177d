"""Hosts on which the criteria of test_sanity.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_sanity as sanity
from tests.smoke.criteria.cases import Case, OnHost

CASES: dict[str, Case] = {
    "tmp-is-everybodys": OnHost(
        run=lambda host, _: sanity.test_tmp_is_everybodys(host),
        broken=[
            ({"stat -L -c %a /tmp": "755\n"}, "has mode 755"),
        ],
    ),
    "the-clock-is-right": OnHost(
        run=lambda host, _: sanity.test_the_clock_is_right(host),
        broken=[
            ({"date +%s": "1000\n"}, "1000 s away"),
        ],
    ),
}
