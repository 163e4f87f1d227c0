"""What the deployer needs of the world, for adapters to fulfil."""

from collections.abc import Callable, Sequence
from typing import Protocol

from services.deployer.settings import Webhook
from shared.events import Route, RoutingTable
from shared.registry import ModelVersion

LoadGeneration = Callable[[], int]
"""Loads the generation of the routing table in force; 0 before the first."""

PostNotice = Callable[[Webhook, bytes, dict[str, str]], tuple[bool, str]]
"""Posts a body with headers; returns whether the webhook took it, and what it said. Raises nothing."""
ListAlarms = Callable[[], list[str]]
"""Names what is wrong now, as far as monitoring knows; that it does not answer is an alarm. Raises nothing."""


class VersionFiles(Protocol):
    def check(self, version: ModelVersion) -> None:
        """Check who registered a version, and that its files are those that were registered.

        Raises:
            HeliotropeError: they are not.
            ArtifactStoreUnavailable: trying again may help.
        """


class ModelServing(Protocol):
    """The model servers behind the gateways."""

    def serve(self, version: ModelVersion, table: RoutingTable) -> Route:
        """Make every server that may be asked serve the version; returns its route once each has answered a request.

        Safe to repeat. `table`: what is in force.

        Raises:
            Exception: a server did not answer, or not with success; which one depends on the adapter.
        """

    def maintain(self, wanted: Sequence[tuple[ModelVersion, Route]]) -> int:
        """Put back what a restarted server has forgotten, and drop what is not wanted any more; returns how many moved.

        `wanted`: every version that a gateway may still route to.

        Raises: as `serve`.
        """
