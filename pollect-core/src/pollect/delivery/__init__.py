"""The way of a batch from its source to the writers."""
