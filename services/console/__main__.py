"""`python -m services.console`."""

from services.console.bootstrap import run

if __name__ == "__main__":
    run()
