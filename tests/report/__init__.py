"""Tests of `imagebuild.report`."""
