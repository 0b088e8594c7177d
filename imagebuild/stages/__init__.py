"""The stages of the pipeline: one function each, `(empty directory, typed inputs) -> artifact`, independent
of each other.
"""
