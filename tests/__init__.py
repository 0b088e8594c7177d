"""Tests: `test_<module>.py` mirrors the package, `vm/` boots guests."""
