"""Hosts on which the criteria of test_upgrade_keys.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_upgrade_keys as upgrade_keys
from imagebuild.smoke.own_keys import pull_with_own_keys
from tests.smoke.criteria.cases import Case, OnHost

CASES: dict[str, Case] = {
    "the-images-own-keys-verify-the-release": OnHost(
        run=lambda host, expected: upgrade_keys.test_the_images_own_keys_verify_the_release(
            host,
            expected,
            lambda: pull_with_own_keys(host, expected.promise.refspec, "http://10.0.2.100/repo"),
        ),
        broken=[
            (
                {"sh -c \nset -eu\nrm -rf": None},
                "refuses the released commit itself, and would every later one: sh: no",
            ),
        ],
    ),
}
