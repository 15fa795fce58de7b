"""The small model: the classes of Stable Diffusion Inpainting at a size that ships with the package."""
