"""Templates: everything in them is escaped, a name that is missing is an error, and nothing of a page is inline."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.console.domain.access import list_pages
from services.console.domain.conversations import list_turns, tell_feedback, tell_question
from services.console.domain.figures import tell_age, tell_duration, tell_number, tell_percent
from services.console.domain.gates import draw_gate
from shared.summaries import read_summary

FOLDER = Path(__file__).parents[1]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
}


def make_environment(clock: Callable[[], datetime]) -> Environment:
    """Return the environment of all templates."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "age": lambda at: tell_age(at, clock()),
        "duration": tell_duration,
        "percent": tell_percent,
        "number": tell_number,
        "time": show_time,
        "plain": lambda text: str(text).replace("_", " "),
        "brief": lambda text: str(text)[:12],
        "turns": list_turns,
        "question": tell_question,
        "reaction": lambda event: tell_feedback(event)[0],
        "wrote": lambda event: tell_feedback(event)[1],
        "summary": read_summary,
        "gate_picture": draw_gate,
        "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True, default=str),
    }
    environment.globals["version_of"] = hash_static
    return environment


def show_time(at: datetime | str | None) -> Markup | str:
    """Show a time; the page's script says it in the reader's own zone."""
    if at is None:
        return "not yet"
    when = datetime.fromisoformat(at) if isinstance(at, str) else at
    return Markup('<time datetime="{}">{} UTC</time>').format(when.isoformat(), f"{when:%Y-%m-%d %H:%M}")


def hash_static(name: str) -> str:
    """Return what changes with a static file, so that browsers may keep it."""
    return hashlib.sha256((FOLDER / "static" / name).read_bytes()).hexdigest()[:12]


@dataclass(frozen=True)
class Pages:
    """Renders pages for whoever looks at them."""

    environment: Environment

    def render(
        self, template: str, content: Mapping[str, Any], *, signed_in: Any = None, path: str = "", status: int = 200
    ) -> HTMLResponse:
        person = signed_in.person if signed_in else None
        frame = {
            "person": person,
            "csrf": signed_in.csrf if signed_in else "",
            "is_certain": signed_in.is_certain if signed_in else True,
            "pages": list_pages(person.role) if person else [],
            "here": path,
            "problem": None,
            "done": None,
        }
        html = self.environment.get_template(template).render(**(frame | dict(content)))
        return HTMLResponse(html, status, HEADERS)
