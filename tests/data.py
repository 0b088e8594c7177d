"""Where tests find things: the checkout, recorded data."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"
