"""How steps are wired: for each kind of step what goes into it, which programs run, what it takes.
`pipeline` puts them together.

Comes in: the configuration of a release line, the builder, steps. Goes out: steps. Nothing here runs.
"""
