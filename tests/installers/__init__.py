"""Tests of `imagebuild.installers`."""
