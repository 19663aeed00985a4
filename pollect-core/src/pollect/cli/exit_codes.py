"""What the exit codes mean; docs/command-line.md tells users."""

from pollect.errors import ConfigError, InvalidConfig, PluginError, PollectError

FAILURE = 1
USAGE = 2
MISSING = 3
#: What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130


def exit_code(error: PollectError) -> int:
    """Return the exit code that tells scripts what kind of error it was."""
    if isinstance(error, InvalidConfig):
        decisive = (problem for problem in error.problems if problem not in error.warnings)
        missing = all(isinstance(problem.__cause__, PluginError) for problem in decisive)
        return MISSING if missing else USAGE
    if isinstance(error, ConfigError):
        return USAGE
    return MISSING if isinstance(error, PluginError) else FAILURE
