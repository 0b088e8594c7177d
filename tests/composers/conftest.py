"""Fixtures of composing."""

from tests.composers.lab import _keys, lab
