"""Erasers behind one protocol, and the controls that keep everyone honest."""
