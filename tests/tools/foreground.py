"""Become a command that has the terminal to itself: `make run` starts the daemon with it.

Ctrl-C then reaches the command alone, and make tells how that went instead of complaining. The
process stays make's own child, to which make hands on a SIGTERM of its own.
"""

import os
import signal
import sys


def main() -> None:
    command = sys.argv[1:]
    if os.isatty(0):
        os.setpgid(0, 0)
        # Whoever takes the terminal is asked to stop while another group still has it.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpgrp())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        # It would stop unnoticed, and nothing could be typed any more.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
