"""`python -m services.curator [api|monitor]`."""

import sys

role = " ".join(sys.argv[1:])
if role in ("", "api"):
    from services.curator.bootstrap.api import main
elif role == "monitor":
    from services.curator.bootstrap.monitor import main
else:
    sys.exit(f"usage: python -m services.curator [api|monitor], not {role!r}")
main()
