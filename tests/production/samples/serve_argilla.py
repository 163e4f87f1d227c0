"""Serves Argilla on a port, with a search index that finds nothing: its records come from its database."""

import sys
from typing import Any

import uvicorn
from argilla_server.search_engine import SearchEngine


async def find_nothing(self: Any, *arguments: Any, **named: Any) -> dict[str, Any]:
    return {}


async def answer(self: Any) -> bool:
    return True


async def create(cls: Any) -> Any:
    return cls()


methods: dict[str, Any] = dict.fromkeys(SearchEngine.__abstractmethods__, find_nothing)
methods |= {"new_instance": classmethod(create), "ping": answer}
SearchEngine.register("none")(type("NoSearch", (SearchEngine,), methods))
uvicorn.run("argilla_server:app", host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
