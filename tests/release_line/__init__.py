"""Tests of `imagebuild.release_line`."""
