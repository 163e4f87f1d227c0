"""What the deployer needs of the world, for adapters to fulfil."""

from typing import Protocol

from shared.events import Route
from shared.registry import ModelVersion


class VersionFiles(Protocol):
    def check(self, version: ModelVersion) -> None:
        """Check who registered a version, and that its files are those that were registered.

        Raises:
            HeliotropeError: they are not.
            ArtifactStoreUnavailable: trying again may help.
        """


class ModelLoader(Protocol):
    def load(self, route: Route) -> None:
        """Make the route's model server load the route's model; returns once it answers.

        Raises:
            Exception: the server did not answer, or not with success; which one depends on the adapter.
        """
