"""What is done to a photo before and after an eraser: it arrives as people have it."""
