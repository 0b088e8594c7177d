"""Tests of `imagebuild.live`."""
