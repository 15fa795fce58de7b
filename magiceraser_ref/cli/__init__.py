"""The command `magiceraser`."""
