"""Write `data/`: `python -m recipes.support_bot.make_data`. The same files each time.

Each split has customers, order numbers, products and ways to ask of its own. The order lookup or the product search has
been run before the model answers; its result is the system message.
"""

import json
import random
from pathlib import Path

from recipes.freezing import Row, write_lines
from recipes.support_bot import wording

DATA = Path(__file__).parent / "data"
SIZES = {"sft": 240, "train": 32, "validation": 10, "test": 150}
"""Rows of each file; two fifths of them ask for a recommendation."""
SPLITS = {"sft": 0, "train": 0, "validation": 1, "test": 2}
"""Which part of the names, products and templates a file draws from."""
SHOP = "You answer for the shop Juniper Home. Use the lookup only."


def make_rows(name: str) -> list[Row]:
    draw = random.Random(f"support_bot {name}")
    part = SPLITS[name]
    orders = _share_orders()[name]
    return [
        _recommend(draw, part) if index % 5 >= 3 else _report_order(draw, part, orders[index])
        for index in range(SIZES[name])
    ]


def _share_orders() -> dict[str, list[int]]:
    """Order numbers, different ones for each file."""
    numbers = list(range(1000, 10_000))
    random.Random("orders").shuffle(numbers)
    shares, start = {}, 0
    for name, size in SIZES.items():
        shares[name] = numbers[start : start + size]
        start += size
    return shares


def _report_order(draw: random.Random, part: int, order: int) -> Row:
    first, last = draw.choice(wording.FIRST_NAMES[part]), draw.choice(wording.LAST_NAMES[part])
    status = draw.choice(sorted(wording.ANSWERS))
    facts = {
        "order": str(order),
        "customer": f"{first} {last}",
        "item": draw.choice(wording.PRODUCTS[part]),
        "status": status,
        "date": draw.choice(wording.DAYS),
    }
    question = draw.choice(wording.ORDER_QUESTIONS[part]).format(**facts)
    right = _tell(facts, first)
    return {
        "task": "order",
        "prompt": _ask(f"order_lookup -> {json.dumps(facts)}", question),
        "facts": facts,
        "answer": right,
        "chosen": right,
        "rejected": _spoil_order(draw, facts, first),
    }


def _tell(facts: dict[str, str], first: str) -> str:
    return wording.ANSWERS[facts["status"]].format(first=first, **facts)


def _spoil_order(draw: random.Random, facts: dict[str, str], first: str) -> str:
    """The usual mistakes: another day, another status, no facts at all."""
    kind = draw.choice(["date", "status", "vague"])
    if kind == "date":
        return _tell(facts | {"date": draw.choice([day for day in wording.DAYS if day != facts["date"]])}, first)
    if kind == "status":
        other = draw.choice([status for status in sorted(wording.ANSWERS) if status != facts["status"]])
        return _tell(facts | {"status": other}, first)
    return draw.choice(wording.VAGUE)


def _recommend(draw: random.Random, part: int) -> Row:
    kind = draw.choice(wording.KINDS[part])
    styles = draw.sample(wording.STYLES[part], 3)
    prices = draw.sample(range(12, 96), 3)
    left = draw.randrange(3)
    found = [
        {"product": f"{style} {kind}", "price": price, "stock": "in stock" if index == left else "sold out"}
        for index, (style, price) in enumerate(zip(styles, prices, strict=True))
    ]
    available = found[left]
    facts = {
        "product": str(available["product"]),
        "price": str(available["price"]),
        "sold_out": [str(entry["product"]) for index, entry in enumerate(found) if index != left],
    }
    right = wording.RECOMMENDATION.format(product=facts["product"], price=facts["price"])
    wrong = found[(left + draw.choice([1, 2])) % 3]
    rejected = wording.RECOMMENDATION.format(product=wrong["product"], price=wrong["price"])
    question = draw.choice(wording.PRODUCT_QUESTIONS[part]).format(kind=kind)
    return {
        "task": "recommendation",
        "prompt": _ask(f"product_search -> {json.dumps(found)}", question),
        "facts": facts,
        "answer": right,
        "chosen": right,
        "rejected": draw.choice([rejected, rejected, draw.choice(wording.VAGUE)]),
    }


def _ask(lookup: str, question: str) -> list[Row]:
    return [{"role": "system", "content": f"{SHOP}\n{lookup}"}, {"role": "user", "content": question}]


def main() -> None:
    for name in SIZES:
        write_lines(DATA / f"{name}.jsonl", make_rows(name))


if __name__ == "__main__":
    main()
