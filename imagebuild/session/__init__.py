"""The library face: what a command, a notebook or another program asks for, from preparing a build to its
release.
"""
