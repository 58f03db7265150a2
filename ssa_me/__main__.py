"""`python -m ssa_me COMMAND`."""

import sys

from ssa_me.cli import main

if __name__ == "__main__":
    sys.exit(main())
