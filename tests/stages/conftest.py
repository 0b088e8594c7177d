"""What tests of several modules are given."""

from tests.stages.past import past
from tests.tools.ostree.candidate import candidate
