"""`python -m pollect.Pollect`, the way pollect 1.x was started, and still its container image."""

import sys

from pollect.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
