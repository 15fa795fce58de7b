"""Training of LoRA and R* on removal triplets."""
