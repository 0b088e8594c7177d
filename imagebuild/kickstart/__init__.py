"""The language: parsed by pykickstart, checked, turned into a typed Plan. Runs nothing."""
