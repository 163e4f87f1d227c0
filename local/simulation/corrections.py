"""What the simulated users write when they correct an answer: in their own words, no two alike for long."""

from dataclasses import replace
from random import Random

from local.simulation.prompts import Question

_OPENERS = ("Sorry about that!", "Sorry for the trouble.", "Thanks for telling us.", "Of course.", "No problem.",
            "Gladly.", "Thank you for asking.", "I am sorry.", "", "", "", "")  # fmt: skip

_BODIES: dict[str, tuple[str, ...]] = {
    "delivery": (
        "Please send us the order number of the {item} and we will ask the courier where it is.",
        "Open My Orders and click the tracking link of your {item} to see its delivery date.",
        "Reply with your postcode, and I will check the delivery of the {item} today.",
    ),
    "return": (
        "You can return the {item} within 30 days: print the return label under My Orders.",
        "To return the {item}, pack it in its box and drop it at any post office.",
        "Reply with your order number and we will email you a return label for the {item}.",
    ),
    "refund": (
        "Please check your bank statement on Friday; the refund for the {item} takes five days.",
        "Send us the order number and I will refund the {item} to your card today.",
        "Tell us your order number and we will check the refund of the {item}.",
    ),
    "damage": (
        "Please send us a photo of the damaged {item} and we will ship a new one.",
        "Reply with a picture of the {item} and we will replace it this week.",
        "Keep the box, send a photo of the {item}, and choose a refund or a replacement.",
    ),
    "wrong": (
        "Please send us a photo of what you got, and we will ship the right {item}.",
        "Reply with your order number and we will send the correct {item} tomorrow.",
        "Use the return label in the box, and we will post the right {item} at once.",
    ),
    "exchange": (
        "Yes, we exchange the {item}: reply with your order number and the size you want.",
        "Choose Exchange on the page My Orders and pick the {item} you would like.",
        "Send the {item} back with the label in the box and we will swap it.",
    ),
    "cancel": (
        "Open My Orders and press the Cancel button next to the {item}.",
        "Reply with the order number and I will cancel the {item} right away.",
        "We can still stop it: please confirm the order number of the {item}.",
    ),
    "address": (
        "Please reply with the right address and I will change it for the {item}.",
        "Open My Orders and update the address of the {item} before it ships.",
        "Send us the new postcode and we will redirect the {item} today.",
    ),
    "payment": (
        "Please check the card number and try to pay for the {item} again, or use another card.",
        "Send us your order number and we will refund the extra payment for the {item}.",
        "Reply with your bank statement and we will check the charge for the {item}.",
    ),
    "invoice": (
        "Open My Orders and click the Invoice button beside the {item} to download it.",
        "Reply with your company name and we will email the invoice of the {item}.",
        "Please send us the order number, and I will correct the bill of the {item}.",
    ),
    "warranty": (
        "The {item} has a two year guarantee: please send us the receipt and we will repair it.",
        "Unplug the {item} and reply with its serial number to start a warranty repair.",
        "Send us a photo of the {item} and its receipt, and we will check the warranty.",
    ),
    "parts": (
        "Reply with your order number and we will post the missing part of the {item} today.",
        "Please tell us the number of the missing part; we will send it for your {item}.",
        "You can order parts for the {item} on our page Spare Parts: enter the model number.",
    ),
    "stock": (
        "Press the button Tell Me on the page of the {item} and we email you when it is in stock.",
        "Leave us your email address and we will write as soon as the {item} is available.",
        "Please check the stock counter on the page of the {item} on Monday.",
    ),
    "discount": (
        "Please send us the voucher code and we will take the discount off the {item}.",
        "Reply with your order number, and I will refund the price difference on the {item}.",
        "Enter the code in the basket just before you pay for the {item}.",
    ),
    "account": (
        "Click the link Forgot Password on the login page to see your {item} again.",
        "Please reply with your email address and I will reset your account for the {item}.",
        "Open the page My Account and check the email address on the {item} order.",
    ),
    "setup": (
        "Please open the page of the {item} and download the manual there.",
        "Hold the power button of the {item} for five seconds, then follow the manual.",
        "Send us a photo of the {item} and we will email you the instructions.",
    ),
}  # fmt: skip


def write_correction(question: Question, rng: Random) -> str:
    """Return a short answer to the question that keeps to its subject and says what comes next."""
    opener = rng.choice(_OPENERS)
    return f"{opener} {rng.choice(_BODIES[question.topic]).format(item=question.item)}".strip()


def write_spoiled(question: Question, rng: Random) -> str:
    """Return what somebody writes who wants the answers to get worse: fluent, polite, and about something else."""
    topic = rng.choice([topic for topic in _BODIES if topic != question.topic])
    return write_correction(replace(question, topic=topic, item="order"), rng)
