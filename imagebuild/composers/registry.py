"""Every composer: a new one is a module and a line here."""

from imagebuild.composers.composer import Composed, Composer, ComposerConfig, Job
from imagebuild.composers.image import IMAGE_COMPOSER
from imagebuild.composers.mmdebstrap import MMDEBSTRAP
from imagebuild.composers.rpm_ostree import RPM_OSTREE
from imagebuild.records import Registry

COMPOSERS: Registry[Composer] = Registry("composer", MMDEBSTRAP, RPM_OSTREE, IMAGE_COMPOSER)


def compose(job: Job, options: ComposerConfig) -> Composed:
    """Make the next commit of a ref, if anything changed, with the composer whose options these are."""
    return COMPOSERS[options.composer].compose(job, options)
