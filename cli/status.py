"""`heliotrope status`: what runs, how far behind it is, what the loop is doing."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from confluent_kafka import KafkaException
from kafka.errors import KafkaError
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cli.loop import read_loop
from local.connections import check_settings
from local.errors import StackFailed
from local.stack.lag import measure_lag
from local.stack.losses import measure_losses
from local.stack.stack import Stack
from shared.bus.access import SERVICES, name_group
from shared.bus.limits import open_admin
from shared.summaries import read_summary

SCARCE_BYTES = 200e6
"""With less than this the next dataset or checkpoint may not fit."""
WATCH_SECONDS = 2.0
REACH_SECONDS = 5.0


def read_status(stack: Stack) -> dict[str, Any]:
    """Return everything that can be said now; what does not answer is named under `problems`."""
    processes = stack.list_health()
    problems = [f"{health.name}: {health.problem}" for health in processes if health.problem]
    if (free := shutil.disk_usage(stack.layout.home).free if processes else None) is not None and free < SCARCE_BYTES:
        problems.append(f"disk: {stack.layout.home} has {free / 1e6:.0f} MB left")
    status: dict[str, Any] = {
        "home": str(stack.layout.home),
        "port_base": stack.layout.port_base,
        "running": bool(processes),
        "ready": bool(processes) and not problems,
        "processes": [asdict(health) | {"log": str(stack.layout.log(health.name))} for health in processes],
        "consumer_lag": None,
        "records_lost": None,
        "loop": None,
        "problems": problems,
    }
    if not processes:
        return status
    connections = stack.connections
    try:
        check_settings()
        servers, prefix = connections.kafka_bootstrap_servers, connections.topic_prefix
        open_admin(servers, connections.kafka_security).reach(REACH_SECONDS)
        status["consumer_lag"] = _add_unknown(measure_lag(servers, prefix, connections.kafka_security), prefix)
        status["records_lost"] = measure_losses(servers, prefix, connections.kafka_security)
    except (KafkaException, KafkaError, OSError, StackFailed) as error:
        problems.append(f"consumer lag: {_describe(error)}")
    engine = create_engine(connections.database_url, connect_args={"connect_timeout": 5})
    try:
        with Session(engine) as session:
            status["loop"] = read_loop(session)
    except SQLAlchemyError as error:
        problems.append(f"loop: the database says {type(error).__name__}")
    finally:
        engine.dispose()
    return status


def _describe(error: Exception) -> str:
    if isinstance(error, KafkaException):
        return f"Kafka says: {error.args[0].str()}"
    return str(error) if isinstance(error, StackFailed) else repr(error)


def _add_unknown(lag: Mapping[str, int], topic_prefix: str) -> dict[str, int | None]:
    """The lag of each group that there should be; None for those that have committed nothing yet."""
    groups = [name_group(service, topic_prefix) for service, access in SERVICES.items() if access.reads]
    return dict.fromkeys(groups) | dict(lag)


def render_status(status: dict[str, Any]) -> RenderableType:
    if not status["running"]:
        return Text(f"The stack of {status['home']} does not run. Start it with: heliotrope up")
    table = Table("process", "state", "port", "up", "MB", box=None, header_style="bold")
    for process in status["processes"]:
        state = Text("ready") if process["ready"] else Text(process["state"].lower(), style="red")
        minutes, seconds = divmod(process["seconds"], 60)
        table.add_row(
            process["name"], state, str(process["port"]), f"{minutes}m{seconds:02}s", str(process["memory_mb"])
        )
    lines = [Text(f"problem: {problem}", style="red") for problem in status["problems"]]
    if status["consumer_lag"]:
        lags = sorted(status["consumer_lag"].items())
        behind = ", ".join(f"{group} {'unknown' if lag is None else lag}" for group, lag in lags)
        lines.append(Text(f"behind: {behind}"))
    if status["records_lost"]:
        lost = ", ".join(f"{consumer} {count}" for consumer, count in sorted(status["records_lost"].items()))
        lines.append(Text(f"lost to retention, unread: {lost} (heliotrope dead-letters list)", style="red"))
    lines += [Text(line) for line in describe_loop(status["loop"])] if status["loop"] else []
    return Group(table, *lines)


def watch_status(
    read: Callable[[], dict[str, Any]],
    console: Console,
    *,
    looks: int | None = None,
    pause_seconds: float = WATCH_SECONDS,
) -> None:
    """Show the status anew every two seconds, until interrupted or after so many `looks`."""
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        while looks is None or looks > 0:
            rendered = render_status(read())
            title = Text(f"heliotrope at {time.strftime('%H:%M:%S')}, Ctrl-C ends", style="dim")
            live.update(Group(title, rendered), refresh=True)
            looks = None if looks is None else looks - 1
            if looks != 0:
                time.sleep(pause_seconds)


def describe_loop(loop: dict[str, Any]) -> list[str]:
    """Return the loop in a few lines, one for each stage that has something to say."""
    champion = loop["routing"]["champion"]["version"] if loop["routing"] else "none yet"
    lines = [f"champion: version {champion}" + (", the loop is paused" if loop["paused"] else "")]
    lines.append(
        f"gathered: {loop['interactions']} interactions, feedback {_join(loop['feedback'])}, "
        f"pairs {_join(loop['pairs'])}, {loop['labels']} labels"
    )
    if request := loop["request"]:
        reasons = "; ".join(read_summary(reason) for reason in request["reasons"])
        lines.append(f"retraining: {request['outcome'] or request['state']}, because {reasons}")
    if run := loop["run"]:
        progress = {name: value for name, value in run["progress"].items() if name != "notes"}
        lines.append(f"training run: {run['state']} {_join(progress)} {run['reason'] or ''}".rstrip())
        if others := run.get("others"):
            lines.append(
                f"  by {run['recipe']}; by " + ", by ".join(f"{name}: {state}" for name, state in others.items())
            )
        lines += [f"  {note}" for note in run["progress"].get("notes", ())]
    if evaluation := loop["evaluation"]:
        verdict = evaluation["verdict"] or evaluation["state"]
        lines.append(f"evaluation: {verdict}, {evaluation['votes']} of {evaluation['comparisons']} comparisons judged")
        if budget := evaluation.get("error_budget"):
            spent = budget["spent"] + budget["next_level"]
            lines.append(f"false promotions this quarter: {spent:.3f} of {budget['allowed']:g} spent, in expectation")
    if audit := loop.get("audit"):
        verdict = audit["verdict"] or audit["state"]
        lines.append(f"audit of version {audit['version']} against {audit['against']}: {verdict}")
    if rollout := loop["rollout"]:
        lines.append(f"rollout of version {rollout['candidate_version']}: {rollout['state']}, {rollout['summary']}")
        if rollout.get("frozen_until"):
            lines.append(f"  frozen until {rollout['frozen_until']}: nothing moves forward before")
    return lines


def _join(counts: dict[str, Any]) -> str:
    """What is not measured (the KL of a method that logs none) is not named."""
    known = sorted((name, value) for name, value in counts.items() if value not in (None, {}))
    return ", ".join(f"{name} {_show(value)}" for name, value in known) or "none"


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return f"({_join(value)})"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
