"""Tests of `imagebuild.stages`."""
