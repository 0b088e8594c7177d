"""Models of parts of a configuration, and the types of their values. Knows none of the rooms above."""
