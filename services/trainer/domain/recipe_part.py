"""The pieces a recipe is made of: checked numbers, and groups of settings."""

from typing import Annotated

import msgspec
from msgspec import Meta

PositiveInt = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
DeviceKind = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$")]
Share = Annotated[float, Meta(ge=0, le=1)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of settings; unknown names are mistakes."""
