"""`OSEnv` of pollect 1.x."""

import sys

WINDOWS = 1
LINUX = 2
CURRENT_PLATFORM = WINDOWS if sys.platform == "win32" else LINUX


def is_linux() -> bool:
    """Whether this is Linux, or at least not Windows."""
    return CURRENT_PLATFORM == LINUX
