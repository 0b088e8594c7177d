"""Ways to make an installer ISO: one package per backend, told in one record.

A record (`installer.py`) says everything that others need to know of a backend: its options in a
configuration, why it cannot be used, how it makes an ISO, what decides what it makes. Whoever adds one writes
a module with its record and a line in `registry.py`. In goes a request: the tree, the kickstarts, the
toolbox; out comes an ISO, which is looked into (`check.py`) before it counts. How it boots is not told here:
that is read from the medium's own menu, since any ISO can be tested.
"""
