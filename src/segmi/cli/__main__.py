"""``python -m segmi.cli``, for where no script is installed."""

import sys

from segmi.cli import main

if __name__ == "__main__":
    sys.exit(main())
