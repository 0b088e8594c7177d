"""The language: parsed by pykickstart, checked, turned into typed values. Runs no programs.

Comes in: the text of a kickstart, where a tree's links lead (`mount_points.TreeFiles`). Goes out: a `Plan`
(plan.py), `Statements` for whoever asks before there is one (statements.py), and BadKickstartError with
everything that is wrong, each with its line. pykickstart's untyped handler does not leave this room. What is
executed of a command, and what is refused, is told in commands.py.
"""
