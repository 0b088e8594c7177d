"""What tests of several modules are given."""

from tests.tools.ostree.candidate import candidate
