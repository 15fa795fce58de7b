"""From one photo to its triplets: candidates, placement, blending, and the proof."""
