"""Tests of `imagebuild.architectures`."""
