"""``python -m utraced``."""

import sys

from utraced.main import main

sys.exit(main())
