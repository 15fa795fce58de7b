"""Semantics-aware self-attention refocusing (section 3.4): its settings, regions, and attention."""
