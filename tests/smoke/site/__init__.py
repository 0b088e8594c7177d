"""A site's own criteria."""
