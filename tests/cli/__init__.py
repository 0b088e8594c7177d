"""Tests of `imagebuild.cli`."""
