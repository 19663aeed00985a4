"""Writer `Notify`: messages to people when something is wrong, and when it is over."""
