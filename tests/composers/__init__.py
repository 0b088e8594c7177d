"""Tests of `imagebuild.composers`."""
