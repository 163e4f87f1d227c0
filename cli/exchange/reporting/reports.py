"""The report of an import, or of a dry run, as people read it."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console


def render(report: Mapping[str, Any], console: Console) -> None:
    for line in describe(report):
        console.print(line, markup=False)


def describe(report: Mapping[str, Any]) -> Iterator[str]:
    """Describe what was found, what was not said, what was refused, and what the rules would make of it, in lines."""
    for file in report["strange_files"]:
        yield _describe_strange(file)
    yield f"{report['records']:,} records, {report['answers']:,} answers"
    if after := report.get("resumed_after_record"):
        yield f"  (went on after record {after:,})"
    yield from _count("feedback", report["feedback"])
    yield from _count("not said by the source", report["unsaid"])
    yield from _refused("refused", report["refused"])
    if report["sent"]:
        yield f"Sent as import {report['import']!r}; the curator makes pairs of it."
    else:
        yield from _describe_preview(report)


def _describe_preview(report: Mapping[str, Any]) -> Iterator[str]:
    if most := report["only_the_first_answers"]:
        yield f"Of the first {most:,} answers, and as much feedback:"
    yield "pairs" if report["pairs"] else "no pairs"
    for rule, states in report["pairs"].items():
        yield f"  {rule:<20} " + ", ".join(f"{count:,} {state}" for state, count in states.items())
    yield from _count("labels", report["labels"])
    yield from _refused("refused by the rules", report["refused_by_rules"])
    yield from _count("prompts that no chat template renders, left out of datasets", report["unrenderable"])
    if report["without_answer"]:
        yield f"{report['without_answer']:,} of feedback waits for answers that are not in these files"
    if report["same_ids"]:
        yield (
            f"{report['same_ids']:,} answers or pieces of feedback differ from an earlier one of the same id: one of "
            "each two is kept aside, and counts once"
        )
    yield "Nothing was sent."


def _describe_strange(file: Mapping[str, Any]) -> str:
    """Say in one line that a file is not what it was named as, and what it may be."""
    name, source, other = file["file"], file["source"], file["looks_like"]
    if not file["records"]:
        return f"{name} holds no records."
    how = f"Nothing of {name} can" if file["nothing_taken"] else f"Most of {name} cannot"
    hint = f"; it looks like {other}: say `heliotrope import {other}`" if other else ", nor as any other source"
    return f"{how} be read as {source}{hint}."


def _count(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    if counts:
        yield title
        yield from (f"  {name:<20} {count:,}" for name, count in counts.items())


def _refused(title: str, refused: Mapping[str, Any]) -> Iterator[str]:
    if refused:
        yield title
    for reason, found in refused.items():
        yield f"  {reason:<20} {found['count']:,}"
        if fields := found.get("fields"):
            yield "    of " + ", ".join(f"{name} {count:,}" for name, count in fields.items())
        yield from (f"    {example}" for example in found["examples"])
