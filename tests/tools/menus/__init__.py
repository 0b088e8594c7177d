"""Tests of `imagebuild.tools.menus`."""
