"""``python -m csgate`` is ``csgate``."""

import sys

from csgate.cli.main import main

sys.exit(main())
