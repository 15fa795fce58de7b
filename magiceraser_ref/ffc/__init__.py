"""The small FFC network that fills holes roughly. It is an eraser, `ffc-small`, and the small model's initialiser."""
