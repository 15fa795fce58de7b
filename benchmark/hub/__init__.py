"""Files for the Hugging Face Hub: a board as a static Space, `eval.yaml` and `.eval_results/`."""
