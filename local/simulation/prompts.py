"""What the simulated customers of an online shop ask.

Live and held-out questions share no template, no item and no detail: what is measured on the held-out ones was
neither trained on nor seen in live traffic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

SYSTEM_PROMPT = "You are the support assistant of the online shop Marigold. Answer the customer."


@dataclass(frozen=True)
class Question:
    """One prompt, and what its writer has in mind with it."""

    template: str
    topic: str
    item: str
    text: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """The prompt as chat messages."""
        return [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": self.text}]


LIVE_TEMPLATES: dict[str, tuple[str, ...]] = {
    "delivery": (
        "Where is my {item}? It should have come by now.",
        "I have been waiting two weeks for the {item} I ordered from you.",
        "The tracking page of my {item} has not changed since Monday.",
    ),
    "return": (
        "How can I send back a {item} that I no longer want?",
        "Is it too late to return the {item} my brother gave me?",
        "I would like to bring the {item} back. What do I have to do?",
    ),
    "refund": (
        "You promised me a refund for the {item}, but nothing is on my card yet.",
        "When do I get my money back for a {item}?",
        "Only half of the price of the {item} was refunded.",
    ),
    "damage": (
        "The {item} came out of its box with a deep scratch.",
        "My {item} was broken when the courier handed it over.",
        "One corner of the {item} is dented and it does not stand straight.",
    ),
    "wrong": (
        "I ordered a {item} and got something else entirely.",
        "You sent me two boxes, and neither of them holds the {item}.",
        "The colour of this {item} is not what I picked.",
    ),
    "exchange": (
        "Can I swap my {item} for a larger one?",
        "The {item} is too small for us; could we have another size?",
        "I would rather have the {item} in green. Do you exchange it?",
    ),
    "cancel": (
        "Please stop my order of the {item}, I clicked too fast.",
        "Can a {item} still be cancelled an hour after paying?",
        "I bought the {item} twice by mistake and need only one.",
    ),
    "address": (
        "My {item} is on its way to my old flat. Can you change that?",
        "I typed the wrong house number when buying the {item}.",
        "Could the {item} go to my office instead of my home?",
    ),
    "payment": (
        "My card was declined when I tried to pay for the {item}.",
        "I was charged twice for a single {item}.",
        "The checkout freezes as soon as I put a {item} in the basket.",
    ),
    "invoice": (
        "I need an invoice with my company name for the {item}.",
        "Where do I find the receipt of the {item}?",
        "The bill for my {item} shows the wrong tax number.",
    ),
    "warranty": (
        "The {item} stopped working after five months. Is that covered?",
        "How long is the guarantee on a {item}?",
        "The motor of my {item} makes a burning smell.",
    ),
    "parts": (
        "There were no screws in the box of the {item}.",
        "The {item} arrived without its power cable.",
        "Do you sell a spare lid for the {item}?",
    ),
    "stock": (
        "When will you have the {item} again?",
        "Your site says the {item} is sold out. Will more come?",
        "I want three of the {item}, but I can only choose one.",
    ),
    "discount": (
        "My voucher code is refused for the {item}.",
        "The {item} was cheaper yesterday. Can I still get that price?",
        "Is there a student discount on the {item}?",
    ),
    "account": (
        "I cannot log in to see my order of the {item}.",
        "The email to reset my password never came, and I want to buy the {item}.",
        "Somebody else's {item} appears in my account.",
    ),
    "setup": (
        "The {item} came without instructions. How do I put it together?",
        "I do not understand how to switch on the {item}.",
        "Which batteries go in the {item}?",
    ),
}

HELD_OUT_TEMPLATES: dict[str, tuple[str, ...]] = {
    "delivery": (
        "Nobody rang my bell, yet you say that the {item} was delivered.",
        "Will a {item} reach me before the weekend if I order today?",
    ),
    "return": (
        "We opened the {item} and do not like it. May we return it?",
        "Who pays the postage if I give the {item} back?",
    ),
    "refund": (
        "It has been ten days since you got my {item} back, and still no refund.",
        "Can the money for the {item} go to a different bank account?",
    ),
    "damage": (
        "Glass everywhere! The {item} was smashed inside its wrapping.",
        "There is a crack along the bottom of our new {item}.",
    ),
    "wrong": (
        "This parcel has another customer's name on it, and my {item} is not inside.",
        "It looks as if you packed an older model instead of the {item}.",
    ),
    "exchange": (
        "My wife already owns a {item}. May I choose something else for it?",
        "What does it cost to trade the {item} for the next size up?",
    ),
    "cancel": (
        "I changed my mind about the {item} this morning. Is there a way out?",
        "Do not ship the {item}, we are moving abroad.",
    ),
    "address": (
        "I am away next week; could a neighbour receive the {item}?",
        "The postcode on the confirmation of my {item} is wrong.",
    ),
    "payment": (
        "Can I pay for the {item} in three instalments?",
        "My bank shows a payment for the {item}, but I got no confirmation.",
    ),
    "invoice": (
        "My accountant asks for a VAT document of the {item}.",
        "Please issue the invoice of the {item} again, I lost it.",
    ),
    "warranty": (
        "Our {item} died on its first birthday. What now?",
        "Does the guarantee of the {item} hold if I repair it myself?",
    ),
    "parts": (
        "A wheel of the {item} is lost. Where can I get a new one?",
        "I counted the pieces of the {item}: two are missing.",
    ),
    "stock": (
        "Can you tell me as soon as the {item} is back?",
        "Is the {item} in your shop in town, or only on the web?",
    ),
    "discount": (
        "I forgot to enter my coupon when I paid for the {item}.",
        "Do I get a better price on ten pieces of the {item}?",
    ),
    "account": (
        "My account is locked since I looked at the {item}.",
        "How do I delete my profile once the {item} is here?",
    ),
    "setup": (
        "The light on the {item} keeps blinking red.",
        "Is there a video that shows how the {item} is assembled?",
    ),
}

LIVE_ITEMS: tuple[str, ...] = (
    "coffee grinder", "bread maker", "hedge trimmer", "desk fan", "hand blender", "electric razor",
    "rice cooker", "water pump", "paper shredder", "toy train", "massage chair", "cordless drill",
    "robot mower", "air purifier", "stand mixer", "ice crusher", "sewing machine", "hair dryer",
    "foot spa", "kick scooter", "carpet sweeper", "pasta machine", "garden sprayer", "ceiling fan",
    "bicycle pump", "juice press", "label printer", "exercise bike", "snow blower", "camping fridge",
)  # fmt: skip

HELD_OUT_ITEMS: tuple[str, ...] = (
    "vacuum cleaner", "radio alarm", "milk frother", "slide projector", "leaf blower", "rowing machine",
    "steam iron", "record player", "wine cooler", "table saw", "fog machine", "meat slicer",
)  # fmt: skip

LIVE_DETAILS: tuple[str, ...] = (
    "My order number is {number}.", "It was meant for my sister's wedding.", "I live in Leeds.",
    "I paid by card.", "I ordered it on the phone.", "We leave on Friday.", "My name is Ines Kovar.",
    "I am a bit annoyed.", "It is order {number}.", "Thanks in advance!", "I bought it in the spring sale.",
    "This is the second time I ask.", "My neighbour had the same trouble.", "I am writing from my office.",
    "Please be quick.", "I have been a customer for years.", "", "", "",
)  # fmt: skip

HELD_OUT_DETAILS: tuple[str, ...] = (
    "Order {number}, if that helps.", "My grandmother needs it.", "I am in Cork.", "Kind regards, Tomas.",
    "I could not find it on your site.", "", "", "",
)  # fmt: skip


def draw_live_questions(count: int, rng: Random) -> list[Question]:
    """Draw `count` questions that use every live template about equally often, no two of them alike."""
    return _draw(LIVE_TEMPLATES, LIVE_ITEMS, LIVE_DETAILS, count, rng)


def draw_held_out_questions(count: int, rng: Random) -> list[Question]:
    """Draw `count` questions that use every held-out template about equally often, no two of them alike."""
    return _draw(HELD_OUT_TEMPLATES, HELD_OUT_ITEMS, HELD_OUT_DETAILS, count, rng)


def _draw(
    templates: dict[str, tuple[str, ...]], items: Sequence[str], details: Sequence[str], count: int, rng: Random
) -> list[Question]:
    forms = [(topic, form) for topic, texts in templates.items() for form in texts]
    if count > len(forms) * len(items):
        raise ValueError(f"at most {len(forms) * len(items)} different questions, not {count}")
    rng.shuffle(forms)
    pools = {form: rng.sample(items, len(items)) for _, form in forms}
    return [_fill(*forms[n % len(forms)], pools[forms[n % len(forms)][1]].pop(), details, rng) for n in range(count)]


def _fill(topic: str, form: str, item: str, details: Sequence[str], rng: Random) -> Question:
    detail = rng.choice(details).format(number=rng.randrange(10_000, 99_999))
    parts = [form.format(item=item), detail]
    rng.shuffle(parts)
    return Question(template=form, topic=topic, item=item, text=" ".join(part for part in parts if part))
