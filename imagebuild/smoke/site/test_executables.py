"""A site's executables, each a test of its own: the plugin hands one after the other in."""

from imagebuild.smoke.host.words import Host
from imagebuild.smoke.site.record import SiteCriterion
from imagebuild.smoke.site.running import Run


def test_executable(site_criterion: SiteCriterion, host: Host) -> None:
    """It ends with 0, through all the reboots that it asks for."""
    Run(site_criterion, host).to_its_end()
