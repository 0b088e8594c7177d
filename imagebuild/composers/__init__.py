"""Ways to make a tree: one module per composer, told in one record.

A record (`composer.py`) says everything that others need to know of a composer: its options in a
configuration, and how it makes the next commit of a ref. Whoever adds one writes a module with its record and
a line in `registry.py`. In goes a configuration and a directory, out comes the commit it made, or found
unchanged. `imagebuild config` reads these modules: what is heavy is imported where it is used.
"""
