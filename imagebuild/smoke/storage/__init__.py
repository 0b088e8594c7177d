"""Container storage-setup profiles: what each release line promises about where containers live.

A profile is a module with a `Profile` and a line in `registry`; it looks at the host through a function that
runs programs there.
"""
