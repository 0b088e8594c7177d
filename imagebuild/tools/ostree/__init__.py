"""The only door to libostree."""
