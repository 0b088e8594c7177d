"""Where releases are published, and where they are read from again: one module per kind of destination.

A record (`destination.py`) says everything that others need to know of a scheme: how its addresses look, what
is one, how it is opened. Whoever adds one writes a module with its record and a line in `registry.py`. A
release is uploaded whole, and read back, before anything points at it; what points at it is replaced in one
step, file by file. `source.py` reads releases, also from servers that are not trusted.
"""
