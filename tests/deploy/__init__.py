"""Tests of `imagebuild.deploy`."""
