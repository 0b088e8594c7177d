"""What runs in the live installer, with nothing but the tree's own Python and pykickstart.

Comes in: boot arguments, a kickstart, the answers of a person. Goes out: an installed disk. What is imported
here lies on the medium, too (installers/live/product.py follows the imports): nothing from PyPI.
"""
