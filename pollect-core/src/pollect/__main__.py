"""`python -m pollect`."""

import sys

from pollect.cli.main import main

sys.exit(main())
