"""The model folder: Stable Diffusion Inpainting, LoRA, the learned token R*, and their settings."""
