"""From one photo to its triplets: which object, where to, how it is blended, and the proof."""
