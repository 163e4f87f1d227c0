"""The TypeScript package, packed: used from Node and from Chromium, before a gateway and the running stack."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse

from local.chromium import Chromium
from shared.events import Retract, Thumb
from shared.ids import new_id
from tests.integration.edge.conftest import Edge
from tests.integration.gateway.dialects import CALLED, DONE, FIND, call, piece, say
from tests.integration.gateway.model_server import serve
from tests.integration.gateway.scripted import KEY, open_gateway, play
from tests.integration.gateway.test_connected_openai import answer, recorded_ids, stream

pytestmark = pytest.mark.node

SCRIPTS = Path("tests/integration/edge/typescript").absolute()
OLDEST_NODE = 20
STREAM = [say(role="assistant", content=""), say(content="On its "), say(content="way."), say("stop"), DONE]


def run(arguments: Sequence[str | Path], folder: Path) -> str:
    ran = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL)
    assert ran.returncode == 0, f"{arguments[0]}: {ran.stdout[-2_000:]}{ran.stderr[-2_000:]}"
    return ran.stdout


def find_node() -> int:
    """The version of the machine's Node; 0 without one."""
    node = shutil.which("node")
    return int(run([node, "--version"], Path.cwd()).removeprefix("v").partition(".")[0]) if node else 0


@pytest.fixture(scope="module")
def consumer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package is installed as it was packed, beside what it may stand beside."""
    assert find_node() >= OLDEST_NODE, "make test-typescript needs Node 20"
    work = tmp_path_factory.mktemp("typescript")
    made = ("node_modules", "dist", "feedback.js")
    for name in ("typescript", "browser"):
        shutil.copytree(f"clients/{name}", work / name, ignore=shutil.ignore_patterns(*made))
    run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], work / "typescript")
    packed = run(["npm", "pack", "--pack-destination", work], work / "typescript").split()[-1]
    consumer = work / "consumer"
    consumer.mkdir()
    (consumer / "package.json").write_text('{"private": true, "type": "module"}')
    run(["npm", "install", "--offline", "--no-audit", "--no-fund", work / packed], consumer)
    for name in ("openai", "react", "react-dom", "scheduler", "@types", "csstype"):
        (consumer / "node_modules" / name).symlink_to(work / "typescript" / "node_modules" / name)
    for path in SCRIPTS.iterdir():
        shutil.copy(path, consumer)
    return consumer


def test_it_holds_what_it_needs_and_nothing_else(consumer: Path):
    installed = consumer / "node_modules" / "heliotrope-client"
    names = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    modules = {f"dist/{name}.{ending}" for name in ("feedback", "node", "openai", "react") for ending in ("js", "d.ts")}
    assert names == modules | {"package.json", "README.md"}
    assert "dependencies" not in json.loads((installed / "package.json").read_text())


def test_its_types_are_what_a_strict_compiler_takes(consumer: Path):
    compiler = consumer.parent / "typescript" / "node_modules" / ".bin" / "tsc"
    options: dict[str, object] = {
        "jsx": "react-jsx",
        "module": "esnext",
        "moduleResolution": "bundler",
        "target": "es2022",
    }
    options |= {"strict": True, "noEmit": True, "lib": ["es2022", "dom"]}
    (consumer / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["page.tsx"]}))
    run([compiler], consumer)


def test_the_connected_openai_client_keeps_its_shapes_in_node(consumer: Path):
    whole, calls = answer(content="On its way."), answer(tool_calls=[{"id": "c1"} | FIND])
    pieces = [call(piece("find_order", index=0, id="c1", type="function")), call(piece(None, '{"id": 7}', index=0))]
    flow, called = stream(*STREAM), stream(say(role="assistant"), *pieces, CALLED, DONE)
    plays = [whole, whole, whole, flow, flow, flow, calls, called, answer(content='{"number": 7}'), whole]
    with open_gateway(consumer, user_requests_per_second=0) as gateway, play(*plays) as server:
        gateway.route_to(server.url)
        said = json.loads(run(["node", "shapes.mjs", gateway.url, KEY], consumer))
        recorded = recorded_ids(gateway)
    assert said["whole"]["id"] == said["whole"]["reply"] == said["whole"]["answers"][0]["interactionId"] == recorded[0]
    assert {"id", "object", "choices", "model", "heliotrope", "interaction_id"} <= set(said["whole"]["fields"])
    assert sorted(said["both"]) == sorted(recorded[1:3])
    assert set(said["stream"]["chunks"]) == {said["stream"]["atOnce"]} == {recorded[3]}
    assert said["stream"]["text"] == "On its way."
    assert [one["interactionId"] for one in said["stream"]["answers"]] == [recorded[3]]
    assert [content for content, _ in said["helper"]] == ["On its way."] * 2
    assert sorted(one for _, one in said["helper"]) == sorted(recorded[4:6])
    assert said["tools"] == [{"id": "c1"} | FIND]
    assert [one["function"]["arguments"] for one in said["streamedTools"]] == ['{"id": 7}']
    assert said["parsed"] == {"content": '{"number": 7}', "id": recorded[8]}
    assert said["raw"] == [recorded[9]] * 2
    assert "connect()" in said["plain"]


def test_a_server_sends_with_its_key_and_an_outage_loses_nothing(consumer: Path, edge: Edge, tmp_path: Path):
    ids = [str(new_id()) for _ in range(3)]
    away = json.loads(run(["node", "server.mjs", "http://127.0.0.1:9", edge.key, tmp_path, *ids], consumer))
    assert (away["drained"], away["waiting"], away["states"]) == (False, 3, ["queued"] * 3)
    back = json.loads(run(["node", "server.mjs", edge.ingest, edge.key, tmp_path], consumer))
    assert (back["drained"], back["states"]) == (True, ["stored"] * 3)
    stored = edge.read_feedback([UUID(one) for one in away["events"]])
    assert sorted(str(event.event_id) for event in stored) == sorted(away["events"])
    assert {str(event.interaction_id) for event in stored} == set(ids)
    assert len({event.user for event in stored}) == 1
    assert edge.key not in "".join(path.read_text() for path in tmp_path.iterdir())


@pytest.fixture
def page(consumer: Path) -> Iterator[str]:
    """The page, bundled as an app would be; its address."""
    bundler = consumer.parent / "typescript" / "node_modules" / ".bin" / "esbuild"
    run([bundler, "page.tsx", "--bundle", "--format=esm", "--jsx=automatic", "--outfile=page.js"], consumer)
    app = FastAPI()
    app.add_api_route("/", lambda: HTMLResponse("<!doctype html><body><script type=module src=page.js></script>"))
    app.add_api_route("/page.js", lambda: FileResponse(consumer / "page.js"))
    with serve(app) as url:
        yield url


def test_thumbs_in_react_reach_the_topic_from_chromium(page: str, chromium: Chromium, edge: Edge):
    body = {"model": "heliotrope", "messages": [{"role": "user", "content": "The lamp flickers."}], "user": "ada"}
    reply = httpx.post(
        f"{edge.gateway}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {edge.key}"}, timeout=20
    )
    told: dict[str, Any] = reply.json()["heliotrope"]
    shown = {"interactionId": told["interaction_ids"][0], "token": told["feedback_token"]}
    with chromium.open(page, width=400, height=400) as tab:
        tab.wait_until("window.show")
        tab.evaluate(f"show({json.dumps(edge.ingest)}, {json.dumps(shown)})")
        tab.wait_until("document.querySelector('#up')")
        tab.evaluate("document.querySelector('#up').click()")
        tab.wait_until("document.querySelector('output').textContent === 'up stored'")
        assert tab.evaluate("document.querySelector('#up').ariaPressed") == "true"
        tab.evaluate("document.querySelector('#up').click()")
        tab.wait_until("document.querySelector('output').textContent === 'null stored'")
    heard = [event.feedback for event in edge.read_about(UUID(shown["interactionId"]), 2)]
    assert isinstance(heard[0], Thumb)
    assert isinstance(heard[1], Retract)
