"""Both OpenAPI documents, held to their word by requests made from them: no 5xx, no status or shape that they lack."""

from typing import Any

import httpx
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.edge.conftest import Edge

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
JSON = "application/json"
EXAMPLES = 10
"""For each operation and kind of request."""


def find_operations(url: str) -> list[Any]:
    document = schemathesis.openapi.from_url(f"{url}/openapi.json")
    return [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]


def ask(operation: Any, mode: GenerationMode, key: str) -> set[int]:
    """Requests that the document allows, or does not; the statuses that came back."""
    statuses: set[int] = set()

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: "Case[Any]") -> None:
        response = case.call_and_validate(checks=CHECKS, headers={"authorization": f"Bearer {key}"}, timeout=20)
        statuses.add(response.status_code)

    check()
    return statuses


@pytest.mark.parametrize("service", ["ingest", "gateway"])
def test_a_service_answers_as_its_document_says(edge: Edge, service: str):
    """Passes and refusals are judged over all operations together: which requests are made is left to chance, and a
    batch answers 200 and refuses its events one by one."""
    allowed: set[int] = set()
    forbidden: set[int] = set()
    for operation in find_operations(edge.stack.url(service)):
        allowed |= ask(operation, GenerationMode.POSITIVE, edge.key)
        if operation.body or operation.query:
            forbidden |= ask(operation, GenerationMode.NEGATIVE, edge.key)
        if operation.path.startswith("/v1/"):
            assert ask(operation, GenerationMode.POSITIVE, "hk_nobody") == {401}
    assert allowed & {200, 202}
    assert forbidden & {400, 422}


@pytest.mark.parametrize(("service", "media_type"), [("ingest", "application/problem+json"), ("gateway", JSON)])
def test_every_problem_in_the_document_has_an_example_of_its_shape(edge: Edge, service: str, media_type: str):
    document = httpx.get(f"{edge.stack.url(service)}/openapi.json", timeout=10).json()
    problems = [
        (status, problem["content"][media_type])
        for path, operations in document["paths"].items()
        for operation in operations.values()
        for status, problem in operation["responses"].items()
        if path.startswith("/v1/") and status >= "400"
    ]
    assert {"401", "403"} < {status for status, _ in problems}
    for status, content in problems:
        jsonschema.validate(content["example"], content["schema"] | {"components": document["components"]})
        assert content["example"].get("status", int(status)) == int(status)
