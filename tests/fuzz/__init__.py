"""Hostile content for every reader of the product: `cases` makes it, `bench` tries it, a module for each room
names the readers and the good samples that cases are made of.
"""
