"""Tells the deployer what was compared in a shadow."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import structlog

logger = structlog.get_logger(__name__)

TRIES = 3
PAUSE_SECONDS = 1.0
TIMEOUT = aiohttp.ClientTimeout(total=5.0)


class ShadowReports:
    """Posts comparisons, each with an id under which repeating it is safe."""

    def __init__(self, url: str, load_key: Callable[[], str]) -> None:
        self._url, self._load_key = url, load_key

    async def report(self, comparison: Mapping[str, Any]) -> bool:
        """Return whether the deployer took a comparison; it is tried three times."""
        headers = {"authorization": f"Bearer {self._load_key()}"}
        for attempt in range(TRIES):
            await asyncio.sleep(PAUSE_SECONDS * attempt)
            try:
                async with (
                    aiohttp.ClientSession(timeout=TIMEOUT) as session,
                    session.post(self._url, json=comparison, headers=headers, allow_redirects=False) as response,
                ):
                    if response.status == 200:
                        return True
                    logger.warning("shadow_report_refused", status=response.status)
            except (aiohttp.ClientError, TimeoutError) as error:
                logger.info("shadow_report_failed", error=repr(error))
        return False
