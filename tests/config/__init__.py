"""Tests of `imagebuild.config`."""
