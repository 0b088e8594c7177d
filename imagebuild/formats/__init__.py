"""What a raw disk becomes: one module per download format."""
