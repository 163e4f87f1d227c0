"""A client of Kafka's administration that knows why no broker answers it."""

import logging
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]

SLICE_SECONDS = 1.0
REFUSALS = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL})
"""Trying again does not help: the login, or one of the certificates, is not accepted."""


class Admin(AdminClient):
    """librdkafka answers a call with 'transport failure' or 'timed out', whatever is wrong; what is wrong it tells
    aside, once for each broker.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._heard: dict[int, str] = {}
        super().__init__(config | {"error_cb": self._hear}, logger=logging.getLogger("librdkafka"))

    def _hear(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._heard[error.code()] = error.str()

    def reach(self, seconds: float) -> ClusterMetadata:
        """Return what the cluster says of itself; ends at once where a login or a certificate is refused.

        Raises:
            KafkaException: no broker answers; says why, as far as a broker was heard of at all.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = self.list_topics(timeout=min(SLICE_SECONDS, seconds))
                self.poll(0)
                self._heard.clear()
                return found
            except KafkaException as error:
                self.poll(0)
                reason = self._find_reason()
                if (reason and reason.code() in REFUSALS) or time.monotonic() > deadline:
                    raise KafkaException(reason or error.args[0]) from error

    def _find_reason(self) -> KafkaError | None:
        """The error that tells most: a refusal, else the newest."""
        told = [code for code in self._heard if code in REFUSALS] or list(self._heard)
        return KafkaError(told[-1], self._heard[told[-1]]) if told else None
