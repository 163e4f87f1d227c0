"""`python -m services.curator [api|monitor]`."""

import sys

role = " ".join(sys.argv[1:])
if role in ("", "api"):
    from services.curator.app.bootstrap_api import main
elif role == "monitor":
    from services.curator.app.bootstrap_monitor import main
else:
    sys.exit(f"usage: python -m services.curator [api|monitor], not {role!r}")
main()
