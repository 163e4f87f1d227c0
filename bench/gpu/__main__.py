"""`python -m bench.gpu`: is training on this machine's GPU right, and how fast? `check.py` says what is measured."""

import sys

from bench.gpu.check import main

if __name__ == "__main__":
    sys.exit(main())
