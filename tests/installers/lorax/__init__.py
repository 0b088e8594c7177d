"""Tests of `imagebuild.installers.lorax`."""
