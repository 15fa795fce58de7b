"""Erasing from one photo: windows, content initialisation, painting, pasting back."""
