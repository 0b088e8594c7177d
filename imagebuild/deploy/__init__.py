"""The kickstart executor: a Plan is executed on a Target.

Comes in: a Plan, a toolbox (the tree's own programs), a file or, in the live installer, the machine's disk.
Goes out: an installed system. ways.py lists the ways to populate a disk and says which works where;
execute.py has the order of an installation; a part of it is a module. Only local.py touches real disks.

The same file that Anaconda executes from the installer ISO makes the disk images here. What Anaconda knows
and this executor does not is an error with the line number, never silently ignored.
"""
