"""An OpenAI-compatible embeddings endpoint."""

import re
import time
from collections.abc import Sequence

import httpx
import numpy as np

from services.curator.cells.domain.vectors import Vectors, normalize
from shared.errors import Unavailable

BATCH = 64
TIMEOUT_SECONDS = 30.0
TRIES = 4
PAUSE_SECONDS = 1.0


class EndpointEmbedder:
    """`url` is the base, such as `http://embeddings:8000/v1`; a model's name stands for its vectors."""

    def __init__(self, url: str, model: str, key: str | None, transport: httpx.BaseTransport | None = None) -> None:
        self.version = "endpoint-" + re.sub(r"[^A-Za-z0-9.]+", "-", model)[:60]
        self._model = model
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(
            base_url=url.rstrip("/") + "/", headers=headers, timeout=TIMEOUT_SECONDS, transport=transport
        )

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts, a batch a request.

        Raises:
            Unavailable: the endpoint refuses, or has not answered properly after four tries.
        """
        rows: list[list[float]] = []
        for start in range(0, len(texts), BATCH):
            # Endpoints refuse an empty input.
            rows += self._ask([text if text.strip() else " ." for text in texts[start : start + BATCH]])
        return normalize(np.array(rows, dtype=np.float32).reshape(len(texts), -1)) if rows else np.zeros((0, 0), "f4")

    def _ask(self, texts: list[str]) -> list[list[float]]:
        problem = ""
        for attempt in range(TRIES):
            time.sleep(PAUSE_SECONDS * attempt)
            try:
                answer = self._client.post("embeddings", json={"model": self._model, "input": texts})
            except httpx.HTTPError as error:
                problem = type(error).__name__
                continue
            if answer.status_code == httpx.codes.OK:
                return _read(answer, len(texts))
            problem = f"HTTP {answer.status_code}"
            if answer.is_client_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
        raise Unavailable(f"the embeddings endpoint does not answer: {problem}")


def _read(answer: httpx.Response, wanted: int) -> list[list[float]]:
    try:
        listed = sorted(answer.json()["data"], key=lambda item: item["index"])
        rows = [[float(value) for value in item["embedding"]] for item in listed]
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"the embeddings endpoint's answer cannot be read: {error!r}") from None
    if len(rows) != wanted or len({len(row) for row in rows}) != 1:
        raise Unavailable(f"the embeddings endpoint returned {len(rows)} vectors for {wanted} texts")
    return rows
