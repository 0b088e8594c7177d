"""Tests that boot guests or start the appliance."""
