"""The kinds of host: how each is recognised, does what a criterion asks for, and is described to its users.

A kind is a module with a `HostRecord` and a line in `registry`; `commands` has the record and the words that
all kinds understand. Nothing here knows how a host was booted.
"""
