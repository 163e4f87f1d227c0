"""`drain-vllm.py SECONDS`: vLLM's preStop: until gateways ask other replicas, then until nothing runs or waits here."""

import sys
import time
import urllib.request

METRICS = "http://127.0.0.1:8000/metrics"
BUSY = ("vllm:num_requests_running", "vllm:num_requests_waiting")


def count_requests() -> float:
    """Count what runs or waits; nothing where nobody answers any more."""
    try:
        text = urllib.request.urlopen(METRICS, timeout=5).read().decode()
    except OSError:
        return 0
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(BUSY))


time.sleep(float(sys.argv[1]))
while count_requests():
    time.sleep(1)
