"""The kickstart executor: a parsed kickstart becomes a Plan, a Plan is executed on a Target.

The same file that Anaconda executes from the installer ISO makes the disk images here. What Anaconda knows
and this executor does not is an error with the line number, never silently ignored.
"""
