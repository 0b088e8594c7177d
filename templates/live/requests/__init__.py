"""Stands in for requests in the live installer: kickstarts do not include from the network."""

from . import exceptions


def get(*_args, **_named):
    raise exceptions.RequestException("an installation does not include from the network")
