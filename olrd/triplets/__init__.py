"""From one photo to its triplets: candidates, placement, blending, and the check of the result."""
