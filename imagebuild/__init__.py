"""imagebuild: from an OSTree commit to a release you can trust."""

__version__ = "0.1.0"
