"""What the gateways themselves say they route by."""

from collections.abc import Sequence

import httpx
import structlog
from prometheus_client.parser import text_string_to_metric_families

from services.deployer.ports import LoadGeneration

logger = structlog.get_logger(__name__)

GENERATION = "heliotrope_routing_generation"
DEADLINE_SECONDS = 5.0


def have_gateways_flipped(urls: Sequence[str], load_generation: LoadGeneration) -> bool:
    """Tell whether every gateway answers that it routes by the table in force, or a later one.

    One that does not answer may still route by an old table: it counts as not flipped. Without URLs nobody is asked,
    and the drain's time alone has to be long enough.
    """
    wanted = load_generation()
    return all(_read_generation(url) >= wanted for url in urls)


def _read_generation(url: str) -> float:
    try:
        response = httpx.get(f"{url}/metrics", timeout=DEADLINE_SECONDS)
        response.raise_for_status()
        families = text_string_to_metric_families(response.text)
        return next(family.samples[0].value for family in families if family.name == GENERATION)
    except (httpx.HTTPError, StopIteration, IndexError, ValueError) as error:
        logger.warning("gateway_not_asked", url=url, error=repr(error))
        return -1.0
