"""What the core brings itself, on the same seam as every plugin."""
