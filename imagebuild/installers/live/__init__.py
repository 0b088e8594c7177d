"""The installer ISO that is the tree itself, run from the medium."""
