"""The MagicEraser method (ECCV 2024): inpainting with learned prompts and refocused attention."""
