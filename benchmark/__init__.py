"""Scores for any eraser on any of the data sets."""
