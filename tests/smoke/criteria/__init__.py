"""Tests of `imagebuild.smoke.criteria`."""
