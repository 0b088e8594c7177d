"""Tests of `imagebuild.publish`."""
