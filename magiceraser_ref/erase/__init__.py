"""Erasing objects from photos: windows, content initialisation, painting, pasting."""
