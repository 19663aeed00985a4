"""The buffer of an outbox on disk."""

#: The file of a spool that says from where on batches wait.
STATE = "state"
