"""The card of a dataset: what a person should know before training on it. Markdown, with every foreign text escaped."""

from typing import Any

from services.curator.datasets.domain.rows import FileName, Row

EXAMPLES = 3
EXAMPLE_CHARACTERS = 300

CONFIGURATIONS: dict[str, dict[str, FileName]] = {
    "pairs": {"train": "train", "validation": "validation"},
    "labels": {"train": "labels"},
    "sft": {"train": "sft"},
    "safety": {"train": "safety"},
}

REASONS = {
    "near_gate": "the prompt is too near to one that models are judged by",
    "repeated": "another row says the same of the same texts: what this one adds is in that row's epsilon",
    "prompt_cap": "the prompt has its share already",
    "user_cap": "the user has their share already",
    "copy_cap": "a text that several people paste has its share already",
    "group_cap": "users who judge what nobody else judges have their share already: a person may vouch for them",
    "own_yardsticks": "two users of different strictness: nothing is left once each one's mean is taken off",
    "contradicted": "stronger evidence says the opposite",
    "contested": "about as strong evidence says the opposite: set aside for people",
    "too_uncertain": "as good as a coin: an unreliable user, a weak rule, or an old writer",
    "rejected": "a person rejected it",
}


def derive_card(manifest: dict[str, Any], rows: dict[FileName, list[Row]]) -> str:
    """Write the README.md of the dataset's folder; its head tells `datasets.load_dataset` where each file is."""
    parts = [
        _write_head(rows),
        f"# Dataset {manifest['dataset_sha256'][:12]}",
        _write_facts(manifest),
        "## What is in it\n\n" + _write_counts(manifest),
        "## How far to trust it\n\n" + _write_calibration(manifest),
        _write_raters(manifest),
        "## What is not in it\n\n" + _write_left_out(manifest),
        "## What a model might learn instead\n\n" + _write_texts(manifest),
        "## Examples\n\n" + _write_examples(rows["train"]),
    ]
    return "\n\n".join(parts) + "\n"


def _write_head(rows: dict[FileName, list[Row]]) -> str:
    """Name the files that have rows: `datasets` 5.2 fails on an empty Parquet file."""
    lines = ["---", "configs:"]
    for name, files in CONFIGURATIONS.items():
        splits = {split: file for split, file in files.items() if rows[file]}
        if not splits:
            continue
        lines += [f"- config_name: {name}", *(["  default: true"] if name == "pairs" else []), "  data_files:"]
        for split, file in splits.items():
            lines += [f"  - split: {split}", f"    path: {file}.parquet"]
    return "\n".join([*lines, "---"])


def _write_facts(manifest: dict[str, Any]) -> str:
    return _table(
        ("", ""),
        [
            ("content hash", f"`{manifest['dataset_sha256']}`"),
            ("made after", f"`{manifest['parent_dataset']}`" if manifest["parent_dataset"] else "nothing: the first"),
            ("for the successor of", escape(str(manifest["parent_version"]))),
        ],
    )


def _write_counts(manifest: dict[str, Any]) -> str:
    counts, prompts = manifest["counts"], manifest["splits"]["prompts"]
    files = [
        ("pairs, train", counts["train"], "train.parquet: prompt, chosen, rejected"),
        ("pairs, validation", counts["validation"], "validation.parquet"),
        ("labels", counts["labels"], "labels.parquet: prompt, completion, label"),
        ("demonstrations", counts["sft"], "sft.parquet: edits and highly rated answers"),
        ("harmful answers", counts["safety"], "safety.parquet: what users called harmful"),
    ]
    weights = manifest["weights"]
    by_rule = [
        (kind, rule, count, f"{weights[kind][rule]:.1f}")
        for kind, rules in (("pairs", manifest["rules"]), ("labels", manifest["label_rules"]))
        for rule, count in rules.items()
    ]
    split = ", ".join(f"{name} {count}" for name, count in prompts.items())
    return (
        _table(("kind", "rows", "file"), files)
        + f"\n\nPrompts by split ({manifest['splits']['cells']} cells): {split}. Of the gate's nothing is here.\n\n"
        + _table(("kind", "rule", "rows", "worth in certain rows"), by_rule)
    )


def _write_calibration(manifest: dict[str, Any]) -> str:
    lines = [
        (f"{line['rule']} v{line['version']}", line["prior"], line["audits"], line["disagreed"], line["epsilon"])
        for line in manifest["calibration"]
    ]
    bias = manifest["position_bias"]
    return (
        "Each row carries `epsilon`, the probability that it is wrong, all evidence known. Below is what each rule adds"
        " to its users' errors.\n\n"
        + _table(("rule", "prior", "audits", "disagreed", "epsilon"), lines)
        + f"\n\nPosition: {bias['first_preferred']} of {bias['choices']} choices that we asked for preferred what was"
        f" shown first; {bias['strength']:.1%} of choices are taken to follow the {bias['favoured']} position alone."
    )


def _write_raters(manifest: dict[str, Any]) -> str:
    raters = manifest["raters"]
    text = (
        f"{raters['users']} users cast {raters['votes']} votes. {raters['contrary']} are contrary: they say the"
        " opposite of the others more often than not."
    )
    tastes = [taste for taste in raters["tastes"] if len(taste["users"]) > 1]
    if not tastes:
        return text
    rows = [(len(taste["users"]), taste["votes"], taste["mean_reliability"], taste["agreement"]) for taste in tastes]
    return (
        f"{text} These are contrary in the same way. Look before you call them noise: it may be a minority's taste.\n\n"
        + _table(("users", "votes", "mean reliability", "agreement among them"), rows)
    )


def _write_left_out(manifest: dict[str, Any]) -> str:
    rows = [(reason, count, "poor quality: refused when derived") for reason, count in manifest["refused"].items()]
    rows += [(reason, count, REASONS.get(reason, "")) for reason, count in manifest["left_out"].items()]
    rows += [
        (reason, count, "events in quarantine until a person decides")
        for reason, count in manifest["quarantine"]["events_waiting"].items()
    ]
    return _table(("reason", "count", "meaning"), rows) if rows else "Nothing was left out."


def _write_texts(manifest: dict[str, Any]) -> str:
    texts = manifest["texts"]
    languages = ", ".join(f"{name} {count}" for name, count in texts["languages"].items())
    return (
        f"Chosen answers have {texts['mean_chosen_words']:.0f} words on average, rejected ones"
        f" {texts['mean_rejected_words']:.0f}; the longer one won in {texts['chosen_is_longer']:.0%} of the pairs."
        f" Languages of chosen answers: {languages or 'none'}."
    )


def _write_examples(rows: list[Row]) -> str:
    shown = []
    for number, row in enumerate(rows[:EXAMPLES], 1):
        asked = row["prompt"][-1]["content"] if row["prompt"] else ""
        table = _table(
            ("", f"{row['rule']}, epsilon {row['epsilon']}"),
            [
                ("prompt", _shorten(asked)),
                ("chosen", _shorten(row["chosen"][0]["content"])),
                ("rejected", _shorten(row["rejected"][0]["content"])),
            ],
        )
        shown.append(f"{number}.\n\n{table}")
    return "\n\n".join(shown) or "None."


def _shorten(text: str) -> str:
    cut = text if len(text) <= EXAMPLE_CHARACTERS else text[:EXAMPLE_CHARACTERS] + " ..."
    return escape(cut)


def escape(text: str) -> str:
    """Make a text plain in Markdown and HTML: whatever means something there becomes a character reference."""
    flat = " ".join(text.split())
    return "".join(
        character if character.isalnum() or character in " .,;:?'/%+=-" else f"&#{ord(character)};"
        for character in flat
        if character.isprintable()
    )


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)])
