"""`reach.py SECONDS HOST:PORT...`: print as JSON of each address whether a connection comes about; run in a pod.

It waits so long at first: policies reach a new pod some seconds after its start.
"""

import json
import socket
import sys
import time

DEADLINE_SECONDS = 3


def is_reached(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), DEADLINE_SECONDS).close()
    except OSError:
        return False
    return True


time.sleep(float(sys.argv[1]))
json.dump({address: is_reached(address) for address in sys.argv[2:]}, sys.stdout)
