"""Who is signed in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """An account."""

    account_id: str
    name: str
    role: str


@dataclass(frozen=True)
class Assertion:
    """A person, and the token that every service takes for a minute."""

    person: Person
    token: str


@dataclass(frozen=True)
class SignedIn:
    """A person with a session. `is_certain` is false while nobody could say whether the account still stands."""

    person: Person
    assertion: str
    csrf: str
    is_certain: bool = True
