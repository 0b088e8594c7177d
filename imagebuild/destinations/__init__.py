"""Where releases go, and are read from again."""
