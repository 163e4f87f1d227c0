"""What follows from what `make gpu-check` measured: rows, goals, and words."""

import statistics
from collections.abc import Iterator
from typing import Any

from bench.gpu.flops import calculate_mfu
from local.results import Goal, Row

GIB = 2**30
SIX_N_GOALS = {("0.5b", "sft"): 40.0, ("1.5b", "sft"): 50.0, ("0.5b", "dpo"): 35.0, ("1.5b", "dpo"): 45.0}
NEEDED_GOALS = {("8b", "sft"): 40.0, ("8b", "dpo"): 35.0}
"""Percent of an H100's peak, of ours."""
SPEED_UP = 1.5
Entry = dict[str, Any]


def list_measured(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if "seconds_a_step" in entry]


def name_entry(entry: Entry) -> str:
    return f"{entry['size']} {entry['case']['method']}, {entry['case']['contestant']}"


def calculate_share(entry: Entry, kind: str, peak: float) -> float:
    """Return MFU in percent; `kind`: needed or six_n."""
    seconds = statistics.fmean(entry["seconds_a_step"])
    return 100 * calculate_mfu(entry[f"{kind}_flop_a_step"], seconds, peak)


def list_rows(entries: list[Entry], peak: float | None) -> list[Row]:
    rows = []
    for entry in list_measured(entries):
        name, steps = name_entry(entry), entry["seconds_a_step"]
        said = entry["tokens_a_second"] * (statistics.fmean(steps) + entry["reference_seconds_a_step"])
        rates = [said / (seconds + entry["reference_seconds_a_step"]) for seconds in steps]
        rows.append(Row.of(f"{name}: tokens", "1/s", rates))
        for kind, words in (("needed", "MFU by needed FLOP"), ("six_n", "MFU by 6N")):
            if peak:
                shares = [100 * calculate_mfu(entry[f"{kind}_flop_a_step"], seconds, peak) for seconds in steps]
                rows.append(Row.of(f"{name}: {words}", "%", shares))
        for phase, peak_bytes in entry["peak_bytes"].items():
            if phase != "loading":
                rows.append(Row.of(f"{name}: memory while {phase}", "GiB", [peak_bytes / GIB]))
    return rows


def list_goals(entries: list[Entry], peak: float | None) -> list[Goal]:
    goals, measured = [], list_measured(entries)
    by_case = {(each["size"], each["case"]["method"], each["case"]["contestant"]): each for each in measured}
    for (size, method, contestant), entry in by_case.items():
        if contestant != "ours":
            continue
        for wanted, kind, words in ((SIX_N_GOALS, "six_n", "6N"), (NEEDED_GOALS, "needed", "needed FLOP")):
            if peak and (size, method) in wanted:
                share = calculate_share(entry, kind, peak)
                goals.append(Goal(f"{size} {method}: MFU by {words}, %", share, wanted[size, method], "at_least"))
        plain = by_case.get((size, method, "plain TRL"))
        if plain:
            ratio = entry["tokens_a_second"] / plain["tokens_a_second"]
            goals.append(Goal(f"{size} {method}: tokens/s over plain TRL", ratio, SPEED_UP, "at_least"))
    return goals


def say_unmeasured(entries: list[Entry]) -> Iterator[str]:
    """Yield what there is a goal for, and no figure."""
    ours = {
        (each["size"], each["case"]["method"])
        for each in list_measured(entries)
        if each["case"]["contestant"] == "ours"
    }
    for size, method in [*SIX_N_GOALS, *NEEDED_GOALS]:
        if (size, method) not in ours:
            yield f"goal of {size} {method}: not measured"


def say_speed(entries: list[Entry], peak: float | None) -> Iterator[str]:
    """Yield a paragraph for each contestant, its curves and, of ours, what the profile says."""
    for entry in entries:
        if "left_out" in entry and "size" in entry:
            case = entry.get("case", {})
            yield f"{entry['size']} {' '.join(case.values())}: {entry['left_out']}"
        elif "error" in entry and "size" in entry:
            yield f"{name_entry(entry)}: did not run: {entry['error'][:300]}"
    yield from say_unmeasured(entries)
    for entry in list_measured(entries):
        seconds = statistics.fmean(entry["seconds_a_step"])
        words = f"{name_entry(entry)}: {entry['tokens_a_second']:,.0f} tokens/s, {seconds:.3f} s a step"
        if entry["reference_seconds_a_step"]:
            words += f" and {entry['reference_seconds_a_step']:.3f} s for its reference"
        if peak:
            needed, six_n = (calculate_share(entry, kind, peak) for kind in ("needed", "six_n"))
            words += f", MFU {needed:.1f}% by needed FLOP, {six_n:.1f}% by 6N"
        words += f", {entry['rows_at_a_time']} rows at a time"
        peaks = ", ".join(f"{phase} {size / GIB:.1f}" for phase, size in entry["peak_bytes"].items())
        yield f"{words}; GiB: {peaks or 'not measured'}; first step after {entry['first_step_after_seconds']:.0f} s"
        for name, key in (("loss", "losses"), ("gradient norm", "gradient_norms")):
            yield f"    {name}: {' '.join(f'{value:.4g}' for value in entry[key])}"
        if entry["profile"]:
            profile = entry["profile"]
            spent = ", ".join(f"{kind} {time}" for kind, time in profile["milliseconds"].items())
            busy, span = 100 * profile["busy"], profile["span_milliseconds"]
            yield f"    profile, ms: {spent}; device busy {busy:.0f}% of {span}"
