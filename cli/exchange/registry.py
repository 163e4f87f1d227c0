"""The sources by name."""

from collections.abc import Mapping

from cli.exchange.ports import Importer
from cli.exchange.sources import (
    argilla,
    huggingface,
    label_studio,
    langfuse,
    langsmith,
    litellm,
    open_webui,
    openai,
    pairs,
    phoenix,
    sharegpt,
    table,
)
from local.errors import StackFailed

IMPORTERS: Mapping[str, Importer] = {
    "argilla": argilla.IMPORTER,
    "csv": table.IMPORTER,
    "huggingface": huggingface.IMPORTER,
    "label-studio": label_studio.IMPORTER,
    "langfuse": langfuse.IMPORTER,
    "langsmith": langsmith.IMPORTER,
    "litellm": litellm.IMPORTER,
    "open-webui": open_webui.IMPORTER,
    "openai": openai.IMPORTER,
    "pairs": pairs.IMPORTER,
    "phoenix": phoenix.IMPORTER,
    "sharegpt": sharegpt.IMPORTER,
}


def find_importer(source: str) -> Importer:
    """Find the importer of a source.

    Raises: StackFailed: there is none.
    """
    if source not in IMPORTERS:
        raise StackFailed(f"no source {source!r}: the first argument is one of {', '.join(IMPORTERS)}")
    return IMPORTERS[source]
