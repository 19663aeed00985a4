"""The daemon: from a config to a running engine, and from one config to the next."""
