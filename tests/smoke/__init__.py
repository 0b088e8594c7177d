"""Tests of `imagebuild.smoke`."""
