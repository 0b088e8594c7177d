"""The words a criterion may use of the host under test, over any transport.

`words.Host` has them all; each other module has those of one idea. Nothing here boots a host or knows QEMU:
`programs.Transport` runs programs on it, `programs.Power` restarts it.
"""
