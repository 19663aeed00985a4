"""FRITZ!Box: traffic and state of an AVM router."""
