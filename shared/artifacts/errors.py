"""What can be wrong with an artifact, told apart by what helps: another address, other rights, space, or waiting."""

from shared.errors import HeliotropeError, NotFound, Unavailable


class ArtifactNotFound(NotFound):
    title = "Artifact not found"


class ArtifactDenied(HeliotropeError):
    """The store knows neither these credentials nor their right to this address."""

    title = "Artifact store refuses access"


class ArtifactCorrupt(HeliotropeError):
    """The bytes are not those that the manifest lists, or there is no sound manifest."""

    title = "Artifact does not verify"


class ArtifactTooLarge(HeliotropeError):
    """There is no room for it, on the disk or in the cache."""

    title = "No room for the artifact"


class ArtifactStoreUnavailable(Unavailable):
    title = "Artifact store unavailable"
