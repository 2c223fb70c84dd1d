"""One fit: its options, folder, record and devices."""
