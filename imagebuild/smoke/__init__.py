"""The trial of a host, in the order of use: machine, host, journey, suite, cells; hosts, storage and criteria
below it.
"""
