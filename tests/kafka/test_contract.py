"""The bus contract, by both clients, against Apache Kafka: `kafka_bootstrap` names it in this folder."""

from tests.contract import test_bus, test_librdkafka_consumer
from tests.contract.test_bus import bus, producer, topic

__all__ = ["bus", "producer", "topic"]

# both have a test of this name; pytest collects functions of a module by theirs
globals().update({name: test for name, test in vars(test_bus).items() if name.startswith("test_")})
globals().update(
    {f"{name}_grouped": test for name, test in vars(test_librdkafka_consumer).items() if name[:5] == "test_"}
)
