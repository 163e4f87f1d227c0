"""`python -m services.ingest`."""

from services.ingest.bootstrap import main

if __name__ == "__main__":
    main()
