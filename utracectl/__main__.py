"""``python -m utracectl``."""

import sys

from utracectl.main import main

sys.exit(main())
