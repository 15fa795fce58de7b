"""The small FFC network that fills a hole first; an eraser too."""
