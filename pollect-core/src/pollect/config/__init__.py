"""The config file: from text to typed sections, with every mistake reported at its place."""
