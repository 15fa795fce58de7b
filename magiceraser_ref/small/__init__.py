"""The small complete model: the classes of Stable Diffusion Inpainting at a size that ships and trains anywhere."""
