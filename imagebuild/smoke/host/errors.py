"""Why a criterion has no answer. "The product is wrong" is an assertion in a criterion, and none of these."""

from imagebuild.errors import BuildError


class RigError(BuildError):
    """The test rig broke: nothing is known about the product."""


class NotTestedError(Exception):
    """A criterion cannot be tested, and says why. Never counts as passed."""


class NotApplicableError(Exception):
    """A criterion says nothing about this kind of artifact, which was checked; the text says why."""
