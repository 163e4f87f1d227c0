"""Made-up personal data of valid formats, and things that only look like it, from a seeded source."""

import random
import string
from collections.abc import Callable, Sequence

import phonenumbers
from stdnum import luhn

Make = Callable[[random.Random], str]

UPPER, LOWER, DIGITS = string.ascii_uppercase, string.ascii_lowercase, string.digits
ALNUM = UPPER + LOWER + DIGITS
HEX = "0123456789abcdef"
URL_SAFE = ALNUM + "-_"
NBSP, THIN, ZERO_WIDTH, WORD_JOINER = "\u00a0", "\u2009", "\u200b", "\u2060"


def some(source: random.Random, alphabet: str, count: int) -> str:
    """Random characters; of an alphabet with all digits, some digit and some letter, as nearly all random ones have."""
    while True:
        text = "".join(source.choices(alphabet, k=count))
        if count < 6 or not set(DIGITS) <= set(alphabet) or (set(text) & set(DIGITS) and set(text) - set(DIGITS)):
            return text


def digits(source: random.Random, count: int, first: str = "123456789") -> str:
    return source.choice(first) + "".join(source.choices(DIGITS, k=count - 1))


def fill(pattern: str) -> Make:
    """`9` becomes a digit, `8` one from 2 to 9, `x` a hexadecimal digit; all else stays."""

    def make(source: random.Random) -> str:
        table = {"9": DIGITS, "8": "23456789", "x": HEX}
        return "".join(source.choice(table[letter]) if letter in table else letter for letter in pattern)

    return make


def octets(source: random.Random) -> list[int]:
    first = source.choice([n for n in range(11, 223) if n != 127])
    return [first, source.randint(31, 255), source.randint(0, 255), source.randint(1, 254)]


def make_ipv4(source: random.Random) -> str:
    return ".".join(map(str, octets(source)))


def make_private_ipv4(source: random.Random) -> str:
    return source.choice(
        [
            f"192.168.{source.randint(0, 255)}.{source.randint(1, 254)}",
            f"10.{source.randint(0, 255)}.{source.randint(0, 255)}.{source.randint(1, 254)}",
            f"172.{source.randint(16, 31)}.{source.randint(0, 255)}.{source.randint(1, 254)}",
        ]
    )


def make_ipv6(source: random.Random) -> str:
    groups = [f"{source.randint(1, 0xFFFF):x}" for _ in range(8)]
    groups[0] = source.choice(["2001", "2a02", "2606", "fd12", "fe80"])
    return source.choice([":".join(groups), f"{groups[0]}:{groups[1]}::{groups[6]}:{groups[7]}", f"{groups[0]}:db8::1"])


def card_digits(source: random.Random, prefix: str, length: int) -> str:
    body = prefix + "".join(source.choices(DIGITS, k=length - 1 - len(prefix)))
    return body + luhn.calc_check_digit(body)


def make_card(separators: Sequence[str]) -> Make:
    """Visa, Mastercard, Discover, UnionPay in fours, American Express in 4, 6 and 5."""

    def make(source: random.Random) -> str:
        separator = source.choice(separators)
        if source.random() < 0.2:
            number = card_digits(source, source.choice(["34", "37"]), 15)
            return separator.join([number[:4], number[4:10], number[10:]])
        prefix = source.choice(["4", "4", f"5{source.randint(1, 5)}", "2221", "6011", "65", "62"])
        number = card_digits(source, prefix, 16)
        return separator.join(number[i : i + 4] for i in range(0, 16, 4))

    return make


def make_no_card(source: random.Random) -> str:
    """Sixteen digits with a wrong check digit."""
    number = card_digits(source, "4", 16)
    return number[:-1] + str((int(number[-1]) + source.randint(1, 9)) % 10)


def make_ssn(separator: str) -> Make:
    def make(source: random.Random) -> str:
        area = source.choice([n for n in range(1, 900) if n != 666])
        return f"{area:03}{separator}{source.randint(1, 99):02}{separator}{source.randint(1, 9999):04}"

    return make


def subscriber(source: random.Random, region: str) -> phonenumbers.PhoneNumber:
    """A valid number of a region: its example with other last digits."""
    kind = source.choice([phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE])
    example = phonenumbers.example_number_for_type(region, kind)
    assert example is not None
    start, tail = str(example.national_number)[:-4], source.randint(0, 9_999)
    number = phonenumbers.PhoneNumber(
        country_code=example.country_code,
        national_number=int(f"{start}{tail:04}"),
        italian_leading_zero=example.italian_leading_zero,
    )
    return number if phonenumbers.is_valid_number(number) else example


def make_phone(region: str, style: str = "international", separator: str = " ") -> Make:
    """`style` is a format of phonenumbers, or `bare` for national digits alone."""
    styles = {
        "international": phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        "national": phonenumbers.PhoneNumberFormat.NATIONAL,
        "e164": phonenumbers.PhoneNumberFormat.E164,
    }

    def make(source: random.Random) -> str:
        number = subscriber(source, region)
        text = phonenumbers.format_number(number, styles.get(style, phonenumbers.PhoneNumberFormat.NATIONAL))
        if style == "bare":
            return "".join(filter(str.isdigit, text))
        return text.replace(" ", separator)

    return make


def slip(make: Make, hidden: str, every: int = 4) -> Make:
    """With a hidden character after every few."""

    def slipped(source: random.Random) -> str:
        text = make(source)
        return hidden.join(text[i : i + every] for i in range(0, len(text), every))

    return slipped


def key(prefix: str, alphabet: str, count: int, suffix: str = "") -> Make:
    return lambda source: prefix + some(source, alphabet, count) + suffix


def choose(*makes: Make | str) -> Make:
    def make(source: random.Random) -> str:
        chosen = source.choice(makes)
        return chosen if isinstance(chosen, str) else chosen(source)

    return make


def make_email(names: Sequence[str], domains: Sequence[str]) -> Make:
    def make(source: random.Random) -> str:
        one, other = source.choice(names), source.choice(names)
        shape = source.choice(["{0}", "{0}.{1}", "{0}_{1}", "{0}{2}", "{0}.{1}+{3}", "{0}-{1}"])
        local = shape.format(one, other, source.randint(1, 2012), source.choice(["shop", "news", "x1"]))
        return f"{local}@{source.choice(domains)}"

    return make


def make_jwt(source: random.Random) -> str:
    return "eyJ" + ".".join(
        [some(source, URL_SAFE, 33), "eyJ" + some(source, URL_SAFE, 60), some(source, URL_SAFE, 43)]
    )


def make_private_key(source: random.Random) -> str:
    lines = "\n".join(some(source, ALNUM + "+/", 64) for _ in range(4))
    kind = source.choice(["RSA ", "EC ", "OPENSSH ", "", "ENCRYPTED "])
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"
