"""Train and judge the support bot: `python -m recipes.support_bot`, or `make recipe-support-bot`."""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from local.results import RESULTS, Goal, Row, write_result
from recipes.command import Options, Progress, add_options, choose_options, train
from recipes.freezing import freeze, read_lines
from recipes.generation import generate
from recipes.intervals import estimate_rise, estimate_share
from recipes.support_bot.make_data import DATA
from recipes.support_bot.score import check_answer

RECIPE = Path(__file__).parent / "recipe.yaml"
MAX_NEW_TOKENS = 64
Checked = list[dict[str, bool]]


def judge(checkpoint: Path, questions: Sequence[dict[str, object]], say: Progress, name: str) -> Checked:
    answers = generate(
        checkpoint,
        [question["prompt"] for question in questions],  # type: ignore[misc]
        max_new_tokens=MAX_NEW_TOKENS,
        say=lambda line: say(f"{name}: {line}"),
    )
    checked = [
        check_answer(str(question["task"]), question["facts"], answer.text, ended=answer.ended)  # type: ignore[arg-type]
        for question, answer in zip(questions, answers, strict=True)
    ]
    passed = [all(one.values()) for one in checked]
    missed = Counter(what for one in checked for what, met in one.items() if not met)
    say(f"{name}: {sum(passed)} of {len(passed)} right; missed: {dict(missed.most_common())}")
    for task in ("order", "recommendation"):
        index = next((at for at, question in enumerate(questions) if question["task"] == task), None)
        if index is not None:
            say(f"{name}: e.g. {answers[index].text!r}")
    return checked


def run(options: Options) -> None:
    say = Progress()
    dataset = freeze(DATA, options.output / "datasets")
    questions = read_lines(DATA / "test.jsonl")[: options.questions]
    before = judge(options.base, questions, say, "before")
    trained = train(RECIPE, options, say, base=options.base, dataset=dataset, name="training")
    imitated = judge(trained / "checkpoints/1/stage-0/candidate", questions, say, "after SFT")
    after = judge(trained / "candidate", questions, say, "after SFT and DPO")
    report(options, say, questions, {"before": before, "after SFT": imitated, "after SFT and DPO": after})


def report(
    options: Options, say: Progress, questions: Sequence[dict[str, object]], outcomes: dict[str, Checked]
) -> None:
    rows = []
    for name, checked in outcomes.items():
        for task in ("all", "order", "recommendation"):
            hits = [
                all(one.values())
                for one, question in zip(checked, questions, strict=True)
                if task in ("all", question["task"])
            ]
            rows.append(_row(f"task score, {task}, {name}", *estimate_share(hits), len(hits)))
    passed = {name: [all(one.values()) for one in checked] for name, checked in outcomes.items()}
    rise = estimate_rise(passed["before"], passed["after SFT and DPO"])
    rows.append(_row("rise", *rise, len(questions)))
    rows.append(_row("rise by DPO", *estimate_rise(passed["after SFT"], passed["after SFT and DPO"]), len(questions)))
    rows.append(Row.of("duration", "min", [say.seconds / 60]))
    goals = [
        Goal("rise of the task score, points", 100 * rise[0], 30, "at_least"),
        Goal("minutes", say.seconds / 60, 20, "at_most"),
    ]
    settings = {"recipe": RECIPE.read_text(encoding="utf-8"), "interval": "95%: Wilson, rise: paired bootstrap"}
    folder = RESULTS if options.keep else options.output
    write_result("recipe-support-bot", rows, goals, settings, folder=folder)


def _row(name: str, value: float, low: float, high: float, count: int) -> Row:
    return Row(name, "%", 100 * value, 100 * low, 100 * high, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    run(choose_options(parser.parse_args(), "support-bot"))


if __name__ == "__main__":
    main()
