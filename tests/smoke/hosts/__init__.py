"""Tests of `imagebuild.smoke.hosts`."""
