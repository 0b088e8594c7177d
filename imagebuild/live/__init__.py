"""What runs in the live installer, with nothing but the tree's own Python and pykickstart: boot arguments in,
an installed disk out.
"""
