"""What a disk becomes: one module per download format, told in one record.

A record (`format.py`) says everything that others need to know of a format: its options in a configuration,
how it is written and unpacked again, its names, how a file of it is recognised, what the page says. Whoever
adds one writes a module with its record and a line in `registry.py`. In goes an installed disk, out comes a
file that people download; `layers.py` and `archives.py` read images from elsewhere, which are not trusted.
"""
