"""``python -m thermos.cli`` is the ``thermos`` command."""

import sys

from thermos.cli.main import main

sys.exit(main())
