"""The style sheet, the script and the icon, which browsers may keep."""

from fastapi import APIRouter
from fastapi.responses import Response

from services.console.adapters.pages import FOLDER
from shared.errors import NotFound

FILES = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
HEADERS = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}


def create_router() -> APIRouter:
    router = APIRouter()
    contents = {name: (FOLDER / "static" / name).read_bytes() for name in FILES}

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in FILES:
            raise NotFound(f"no file {name}")
        return Response(contents[name], media_type=FILES[name], headers=HEADERS)

    @router.get("/favicon.ico")
    def favicon() -> Response:
        return Response(contents["icon.svg"], media_type=FILES["icon.svg"], headers=HEADERS)

    return router
