"""What the deployer needs of the world, for adapters to fulfil."""

from typing import Protocol

from shared.events import Route


class ModelLoader(Protocol):
    def load(self, route: Route) -> None:
        """Make the route's model server load the route's model; returns once it answers.

        Raises:
            Exception: the server did not answer, or not with success; which one depends on the adapter.
        """
