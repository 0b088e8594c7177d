"""Tests of `imagebuild.installers.live`."""
