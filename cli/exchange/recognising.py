"""Which source's a file is, where it is not the one that it was named as."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from cli.exchange.files.reading import RecordFile
from cli.exchange.found import Options, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.registry import IMPORTERS
from cli.exchange.reporting.tally import FileCount, Tally
from cli.exchange.walking import FAULTS, Place

LOOKED_AT = 200
"""Records from a file's beginning."""
STRANGE = frozenset({
    "broken_file", "no_answer", "no_call", "no_column", "no_common_prompt", "no_id", "no_messages", "no_object",
    "no_prompt", "not_json", "not_utf8", "ragged_row", "too_deep", "unknown_columns", "unknown_history",
    "unknown_speaker", "unreadable",
})  # fmt: skip
"""Reasons that a source gives for records of a shape that is not its own."""
STRANGEST_FIRST = (
    "open-webui", "langfuse", "phoenix", "langsmith", "litellm", "openai", "sharegpt", "label-studio", "argilla",
    "huggingface", "pairs", "csv",
)  # fmt: skip
"""Sources with members that no other one has come first: several may read the same record."""
MARKS = {
    "label-studio": frozenset({"annotations", "completions", "annotation_id"}),
    "argilla": frozenset({"fields", "responses", "suggestions", "external_id", "_server_id"}),
}
"""Their fields are named freely, so that they read much that is not theirs: a record of theirs has one of these."""


def describe_strange_files(
    files: Sequence[Path], source: str, options: Options, tally: Tally, begun: Place
) -> list[dict[str, Any]]:
    """Describe the files, of those read from their beginning, of which at least half is of a shape that is not the
    source's, or that are empty.
    """
    read_whole = range(begun.file + bool(begun.record), len(files))
    counted = [(files[number], tally.files.get(number, FileCount())) for number in read_whole]
    return [
        {
            "file": path.name,
            "records": count.records,
            "source": source,
            "nothing_taken": is_foreign(count),
            "looks_like": other,
        }
        for path, count in counted
        if count_strange(count) * 2 >= count.records and ((other := recognise(path, options)) != source)
    ]


def count_strange(count: FileCount) -> int:
    return sum(times for reason, times in count.refused.items() if reason in STRANGE)


def is_foreign(count: FileCount) -> bool:
    """Say whether nothing of a file was taken, and no record was of the source's shape."""
    return count_strange(count) == count.records


def recognise(path: Path, options: Options) -> str | None:
    """Recognise whose a file is: the source that reads most in its first records. None: no source reads any."""
    read = {name: weigh(name, path, options) for name in STRANGEST_FIRST}
    best = max(STRANGEST_FIRST, key=lambda name: read[name])
    return best if read[best] else None


def weigh(source: str, path: Path, options: Options) -> int:
    """Weigh what a source takes from a file's first records: 2 for each of which there is feedback, else 1."""
    importer, marks = IMPORTERS[source], MARKS.get(source, frozenset())
    records = islice(RecordFile(path, importer.wrappers), LOOKED_AT)
    own = (one for one in records if not isinstance(one, Refused) and (not marks or _has_mark(one, marks)))
    return sum(_take(importer, record, options) for record in own)


def _has_mark(record: Record, marks: frozenset[str]) -> bool:
    return bool(record.keys() & marks) or any(name.endswith(".responses") for name in record)


def _take(importer: Importer, record: Record, options: Options) -> int:
    try:
        found = importer.read(record, options)
    except (Refused, *FAULTS):
        return 0
    return 2 if found.feedback else int(bool(found.answers))
