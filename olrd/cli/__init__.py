"""The commands `olrd-build` and `olrd`."""
