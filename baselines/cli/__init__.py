"""The command `olrd-erase`."""
