"""The buffer of an outbox on disk."""
