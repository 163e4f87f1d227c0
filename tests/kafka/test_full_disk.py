"""A broker whose disk is full refuses, ends, and has every record that it acknowledged once there is room again."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.servers.kafka_cluster import KafkaCluster
from shared.bus import Record
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.errors import Unavailable
from tests.kafka.conftest import Report
from tests.kafka.topics import count_records, make_topic

SIZE_MB, BALLAST_MB = 120, 40
RECORD_BYTES = 100_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.faults
def test_what_a_broker_acknowledged_before_its_disk_was_full_is_there_afterwards(small_disk: Path, report: Report):
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (BALLAST_MB * 2**20))
    settings = {"log.dirs": small_disk / "data", "log.segment.bytes": 4 * 2**20, "log.index.size.max.bytes": 2**16}
    cluster = KafkaCluster(small_disk.parent / "kafka", settings=settings).start()
    producer = LibrdkafkaBusProducer(cluster.bootstrap_servers, client_id="test", deadline_seconds=5)
    try:
        topic = make_topic(cluster, "full", partitions=1)
        stored, failure = 0, None
        while failure is None:
            failure = producer.send(Record(topic, b"k", b"x" * RECORD_BYTES, {})).exception(20)
            stored += failure is None
        assert isinstance(failure, Unavailable)
        cluster.kill(1)  # it ends by itself, or hangs
        ballast.unlink()
        cluster.start_node(1)
        producer.send(Record(topic, b"k", b"afterwards", {})).result(20)
        found = count_records(cluster, topic)
        report(f"{stored} records acknowledged before the disk was full, {found} there with one sent afterwards")
        assert stored > 100
        assert found >= stored + 1  # one whose answer was lost may be there as well
    finally:
        producer.close(5)
        cluster.stop()
