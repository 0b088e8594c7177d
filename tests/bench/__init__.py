"""What is measured (`make bench`): ratios of one run; `boots`, `guests` and `secure_boot` also run alone."""
