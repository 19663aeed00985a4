"""AI-on-the-edge-device: a camera that reads a meter."""
