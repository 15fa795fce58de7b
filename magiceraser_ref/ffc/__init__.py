"""The small FFC network that fills holes roughly. It is the eraser `ffc-small`, and an initialiser of MagicEraser."""
