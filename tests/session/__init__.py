"""Tests of `imagebuild.session`."""
