"""Tests of `imagebuild.installers.unattended`."""
