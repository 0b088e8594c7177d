"""Tests of `imagebuild.engine`."""
