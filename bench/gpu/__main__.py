"""`python -m bench.gpu`: our methods on this machine's GPUs beside plain TRL; what it measures is in `check.py`."""

from bench.gpu.check import main

if __name__ == "__main__":
    main()
