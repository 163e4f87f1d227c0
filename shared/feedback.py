"""What a user's feedback says of the answer that it is about."""

from shared.events import AnyFeedback, Rating, Thumb


def derive_polarity(feedback: AnyFeedback) -> bool | None:
    """Whether feedback praises its answer (True) or blames it (False); None for what does neither.

    - a thumb: up praises, down blames
    - a rating: as `derive_rating_polarity` says
    """
    match feedback:
        case Thumb(value=value):
            return value == "up"
        case Rating(value=stars):
            return derive_rating_polarity(stars)
    return None


def derive_rating_polarity(stars: int) -> bool | None:
    """4 and 5 stars praise, 1 and 2 blame, 3 do neither."""
    return None if stars == 3 else stars > 3
