"""The paper's ladder of ablations: its rows, and running them."""
