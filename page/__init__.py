"""What the page does, without Gradio: the models, a visitor, the pictures and words shown. For app.py alone."""

KEPT_SECONDS = 3600
"""How long the photos, latents and pictures of a visitor who does nothing more are kept."""
SWEEP_SECONDS = 60
"""Between two looks for files that are older than that."""
