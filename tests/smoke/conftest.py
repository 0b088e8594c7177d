"""What tests of several modules are given."""

from tests.smoke.timed_machine import clock
from tests.tools.ostree.candidate import candidate
