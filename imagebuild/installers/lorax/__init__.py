"""The installer ISO that lorax makes, in a process of its own."""
