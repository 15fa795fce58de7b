"""Networks from the Hub or a folder: opening a checkpoint, Mask2Former, image captions."""
