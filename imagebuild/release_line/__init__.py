"""A release line's whole configuration, put together from what every room tells of its own, and how it is
read.
"""
