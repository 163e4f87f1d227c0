from shared.events import Comment, Rating, Thumb
from shared.feedback import derive_polarity


def test_the_middle_rating_neither_praises_nor_blames() -> None:
    assert [derive_polarity(Rating(value=stars)) for stars in range(1, 6)] == [False, False, None, True, True]


def test_a_thumb_praises_or_blames() -> None:
    assert derive_polarity(Thumb(value="up")) is True
    assert derive_polarity(Thumb(value="down")) is False


def test_a_comment_neither_praises_nor_blames() -> None:
    assert derive_polarity(Comment(text="Thanks for nothing.")) is None
