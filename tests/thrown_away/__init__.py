"""One of each kind of thing, as somebody would add it: copied into a package, with a line in its registry."""
