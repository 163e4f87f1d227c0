from shared.conversation import derive_dialogue, derive_question, derive_text, derive_words
from shared.events import Message

CHAT: list[Message] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is Lyon?"},
    {"role": "assistant", "content": "In France."},
    {"role": "user", "content": [{"type": "text", "text": "And this?"}, {"type": "image_url", "image_url": {}}]},
]


def test_the_question_is_the_last_user_message() -> None:
    assert derive_question(CHAT) == "And this?"


def test_without_a_user_message_the_question_is_all_but_the_systems() -> None:
    assert derive_question([CHAT[0], CHAT[2]]) == "In France."


def test_the_dialogue_is_everything_but_the_systems_messages() -> None:
    assert derive_dialogue(CHAT) == "Where is Lyon?\nIn France.\nAnd this?"
    assert derive_dialogue([*CHAT[:2], {"role": "assistant", "content": None}]) == "Where is Lyon?"


def test_a_message_without_text_says_nothing() -> None:
    assert derive_text({"role": "assistant", "content": None, "tool_calls": []}) == ""


def test_words_are_compared_without_case_punctuation_and_look_alikes() -> None:
    assert derive_words("Ｗhere's the ﬁre?") == ["where", "s", "the", "fire"]
