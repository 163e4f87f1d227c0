"""What all routers of the curator share."""

from typing import Annotated

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict

from shared.auth import Caller, require

Limit = Annotated[int, Query(ge=1, le=1000)]
Admin = Annotated[Caller, Depends(require("admin"))]
READERS = [Depends(require("ops", "admin"))]
"""Who may read what the curator holds."""


class View(BaseModel):
    """A body of a reply, read from a row."""

    model_config = ConfigDict(from_attributes=True)
