"""The paper's ablation: its rows (rows.py), and running them (run.py)."""
