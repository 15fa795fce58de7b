"""Semantics-aware self-attention refocusing (section 5): its settings, its regions and its attention."""
