"""Tests of `imagebuild.kickstart`."""
