"""Feedback to Heliotrope: what a user said of an answer, stored once however often it is sent."""

from heliotrope_client.async_client import AsyncHeliotrope
from heliotrope_client.client import Heliotrope
from heliotrope_client.errors import HeliotropeError, NotStored, QueueFull, Rejected
from heliotrope_client.events import Event, choice, comment, complaint, edit, rating, regenerate, retract, thumb
from heliotrope_client.interactions import Interaction, derive_interaction_id

__all__ = [
    "AsyncHeliotrope",
    "Event",
    "Heliotrope",
    "HeliotropeError",
    "Interaction",
    "NotStored",
    "QueueFull",
    "Rejected",
    "choice",
    "comment",
    "complaint",
    "derive_interaction_id",
    "edit",
    "rating",
    "regenerate",
    "retract",
    "thumb",
]
