"""Tests of `imagebuild.tools`."""
