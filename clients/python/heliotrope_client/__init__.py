"""Feedback to Heliotrope: what a user said of an answer, stored once however often it is sent."""

from heliotrope_client.client import AsyncHeliotrope, Heliotrope
from heliotrope_client.errors import HeliotropeError, NotStored, Rejected
from heliotrope_client.events import Event, choice, comment, complaint, edit, rating, regenerate, retract, thumb

__all__ = [
    "AsyncHeliotrope",
    "Event",
    "Heliotrope",
    "HeliotropeError",
    "NotStored",
    "Rejected",
    "choice",
    "comment",
    "complaint",
    "edit",
    "rating",
    "regenerate",
    "retract",
    "thumb",
]
