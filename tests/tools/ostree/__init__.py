"""Tests of `imagebuild.tools.ostree`."""
