"""Tokens into text, and stop strings."""

from typing import Any

import pytest

from local.model_server.text import Writer

TEXT = "Größe: 5 €, bitte 🙂 sehr. END and more"


class Bytes:
    """A tokenizer whose tokens are bytes."""

    def decode(self, tokens: list[int], **_: Any) -> str:
        return bytes(tokens).decode("utf-8", "replace")


def write(text: bytes, *stops: str) -> tuple[list[str], str, bool]:
    writer = Writer(Bytes(), stops)
    pieces = []
    for token in text:
        pieces.append(writer.add(token))
        if writer.is_stopped:
            break
    return pieces, "".join(pieces) + writer.finish(), writer.is_stopped


def test_characters_of_several_tokens_come_whole():
    pieces, text, _ = write(TEXT.encode())
    assert text == TEXT
    assert not any("\ufffd" in piece for piece in pieces)
    assert "🙂" in pieces


def test_an_unfinished_character_is_shown_as_such_at_the_end():
    assert write("5 €".encode()[:-1])[1] == "5 \ufffd"


@pytest.mark.parametrize(("stop", "before"), [("END", TEXT[:26]), ("€", "Größe: 5 "), ("Größe", "")])
def test_nothing_of_a_stop_string_or_after_it_is_written(stop: str, before: str):
    pieces, text, is_stopped = write(TEXT.encode(), "EXIT", stop)
    assert text == before
    assert is_stopped
    assert not any("E" in piece for piece in pieces)


def test_what_only_looks_like_a_stop_string_is_written():
    assert write(b"ENE ENEN", "END")[1:] == ("ENE ENEN", False)
