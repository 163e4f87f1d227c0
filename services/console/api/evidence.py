"""Feedback and conversations, as far as the curator redacted them."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response

from services.console.api.http import PAGE_ROWS, After, Served, Wanted, begin_after, go, link_next, signed_in
from services.console.domain.access import READERS
from services.console.domain.people import SignedIn
from services.console.repository import evidence
from services.console.repository.evidence import Search
from shared.errors import NotFound

Looker = Annotated[SignedIn, Depends(signed_in(*READERS))]
Kind = Literal["", "thumb", "rating", "choice", "edit", "regenerate", "complaint", "comment", "retract"]
KINDS = ("thumb", "rating", "choice", "edit", "regenerate", "complaint", "comment", "retract")


def create_router() -> APIRouter:
    router = APIRouter()

    @router.get("/feedback", response_class=HTMLResponse)
    def search(
        request: Request,
        console: Served,
        person: Looker,
        type: Kind = "",
        version: Wanted = "",
        words: Wanted = "",
        until: Annotated[str, Query(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = "",
        id: Wanted = "",
        after: After = None,
    ) -> Response:
        wanted = Search(type, version.strip(), words.strip(), _end_of(until), begin_after(after, UUID))
        with console.sessions() as session:
            answers = evidence.find_interactions(session, id.strip()) if id.strip() else []
            found = evidence.search_feedback(session, wanted, PAGE_ROWS)
        if len(answers) == 1:
            return go(f"/conversations/{answers[0]}")
        fields = {"type": type, "version": version, "words": words, "until": until, "id": id}
        return console.show(
            request,
            "feedback.html",
            found=found,
            fields=fields,
            kinds=KINDS,
            answers=answers,
            next_page=link_next(request, found.next),
        )

    @router.get("/conversations/{interaction_id}", response_class=HTMLResponse)
    def show_conversation(request: Request, interaction_id: UUID, console: Served, person: Looker) -> Response:
        with console.sessions() as session:
            loaded = evidence.load_conversation(session, interaction_id)
            if loaded is None:
                raise NotFound(f"there is no answer {interaction_id}")
            interaction, prompt = loaded
            pairs, labels = evidence.list_derived(session, interaction)
            items = [pair.pair_id for pair in pairs] + [label.label_id for label in labels]
            content: dict[str, Any] = {
                "reactions": evidence.list_reactions(session, interaction_id),
                "siblings": evidence.list_siblings(session, interaction),
                "trace": evidence.trace_items(session, items),
            }
        return console.show(
            request, "conversation.html", interaction=interaction, prompt=prompt, pairs=pairs, labels=labels, **content
        )

    return router


def _end_of(day: str) -> datetime | None:
    """Return the end of a day in UTC; None for none, and for a day that no calendar has."""
    try:
        return datetime.combine(date.fromisoformat(day), time.min, UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        return None
