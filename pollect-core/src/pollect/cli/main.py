"""The command `pollect`, as the console script finds it: signals count from its first moment.

Ctrl-C ends it silently at every moment, and a SIGHUP never ends a daemon that is starting. What is
imported before `main` runs shows a traceback if Ctrl-C comes meanwhile, so that is next to nothing.
"""

# `signal` imports `enum` and more, which takes longer than all that has happened until here.
import _signal  # type: ignore[import-not-found]
import sys


def main() -> int:
    """Run the command line of this process; the console script calls it."""
    if sys.argv[1:2] == ["run"] and "--once" not in sys.argv:
        # Its config is read later than this, so there is nothing to reload yet.
        _signal.signal(_signal.SIGHUP, _signal.SIG_IGN)
    obeys = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
    if not obeys:  # behind `nohup` for example, and stays so
        from pollect.cli.process import run_process

        return run_process(sys.argv[1:])
    # While it imports and when it is through, the signal itself ends the process.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from pollect.cli.process import run_process

    try:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        return run_process(sys.argv[1:])
    finally:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
