"""From tested artifacts to a release: names, signed checksums, metadata, what changed, the page; then
promotion, verification, pruning.
"""
