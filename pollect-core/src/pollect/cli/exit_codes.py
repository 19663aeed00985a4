"""What the exit codes mean; docs/command-line.md tells users."""

FAILURE = 1
USAGE = 2
MISSING = 3
#: What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130
