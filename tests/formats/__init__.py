"""Tests of `imagebuild.formats`."""
