"""Steps, the graph that they make, the store of what they made, and who runs them when. Knows no images."""
