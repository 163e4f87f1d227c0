"""What a traced call was asked and answered, in the shapes that chains, agents and decorators write down."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.exchange.calls import read_question, read_reply
from cli.exchange.commands import Job, check_columns
from cli.exchange.events import Import
from cli.exchange.found import Options, Refused
from cli.exchange.registry import IMPORTERS
from local.errors import StackFailed
from tests.unit.exchange.reading_files import read_files
from tests.unit.exchange.test_events import ABOUT

QUESTION, ANSWER = "Where is my lamp?", "It left on Monday."
ASKED = [{"role": "user", "content": QUESTION}]
DOCUMENTS = [{"page_content": "Lamps leave on Mondays.", "type": "Document"}]
SHAPES: dict[str, tuple[Any, Any]] = {
    "question and answer": ({"question": QUESTION}, {"answer": ANSWER}),
    "query and result": ({"query": QUESTION}, {"result": ANSWER}),
    "input and output": ({"input": QUESTION}, {"output": ANSWER}),
    "texts": (QUESTION, ANSWER),
    "retrieval": (
        {"input": QUESTION},
        {"input": QUESTION, "context": DOCUMENTS, "answer": ANSWER},
    ),
    "retrieval with sources": (
        {"query": QUESTION},
        {"query": QUESTION, "result": ANSWER, "source_documents": DOCUMENTS},
    ),
    "agent": ({"input": QUESTION}, {"output": ANSWER, "intermediate_steps": [["a", "b"]]}),
    "output within": ({"input": {"question": QUESTION}}, {"output": {"answer": ANSWER, "sources": DOCUMENTS}}),
    "decorator": ({"args": [], "kwargs": {"question": QUESTION}}, ANSWER),
    "decorator without names": ({"args": [QUESTION], "kwargs": {}}, {"response": ANSWER}),
    "only one member": ({"question": QUESTION}, {"say": ANSWER}),
    "failure beside it": ({"question": QUESTION}, {"answer": ANSWER, "error": None}),
}


def make_records(asked: Any, answered: Any) -> dict[str, Any]:
    """The same call as each tracing tool writes it down."""
    attributes = {"input.value": json.dumps(asked), "output.value": json.dumps(answered)}
    return {
        "langsmith": {"id": "r", "run_type": "chain", "inputs": asked, "outputs": answered},
        "langfuse": {"id": "t", "input": json.dumps(asked), "output": answered},
        "phoenix": {"span_id": "s", "span_kind": "CHAIN", "attributes": attributes},
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("source", ["langsmith", "langfuse", "phoenix"])
def test_a_call_of_a_usual_shape_is_read_from_each_tracing_tool(source: str, shape: str):
    [answer] = IMPORTERS[source].read(make_records(*SHAPES[shape])[source], Options()).answers
    assert (answer.messages, answer.text) == (ASKED, ANSWER)


@pytest.mark.parametrize(
    "history",
    [[["Hello", "Hello!"]], [{"type": "human", "content": "Hello"}, {"type": "ai", "content": "Hello!"}]],
    ids=["pairs", "messages"],
)
def test_what_was_said_before_the_question_comes_before_it(history: Any):
    messages = read_question({"question": QUESTION, "chat_history": history}, Options())
    said = [(one["role"], one["content"]) for one in messages]
    assert said == [("user", "Hello"), ("assistant", "Hello!"), ("user", QUESTION)]


def test_a_history_that_cannot_be_read_is_not_left_out():
    with pytest.raises(Refused, match="unknown_history"):
        read_question({"question": QUESTION, "chat_history": "Human: Hello"}, Options())


@pytest.mark.parametrize("output", [{"error": "gone"}, {"a": 1, "b": "x"}, {"score": 3}])
def test_an_output_without_an_answer_says_which_members_it_has(output: Any):
    with pytest.raises(Refused, match=r"no_answer: which of .* is the answer\? Say --column answer=FIELD"):
        read_reply(output, Options())


def test_an_output_that_is_empty_says_so_and_asks_for_nothing():
    for output in ({}, {"answer": "", "sources": []}):
        with pytest.raises(Refused, match="no_answer: the output is empty"):
            read_reply(output, Options())


def test_an_input_whose_question_nobody_names_is_refused_and_not_guessed():
    with pytest.raises(Refused, match=r"which of shop, topic is the prompt\? Say --column prompt=FIELD"):
        read_question({"shop": "lamps", "topic": QUESTION}, Options())


@pytest.mark.parametrize("source", ["langsmith", "langfuse", "phoenix"])
def test_the_operator_names_the_members_of_a_traced_call(source: str, tmp_path: Path):
    asked, answered = {"shop": "lamps", "ask": {"topic": QUESTION}}, {"answer": "draft", "final": ANSWER}
    (tmp_path / "a.json").write_text(json.dumps([make_records(asked, answered)[source]]))
    options = Options(columns={"prompt": "ask.topic", "answer": "final"})
    [answer] = read_files(source, [tmp_path / "a.json"], options)[0].answers
    assert (answer.messages, answer.text) == (ASKED, ANSWER)


def make_job(source: str, **columns: str) -> Job:
    return Job(IMPORTERS[source], [], Import(source, source, ABOUT.at), Options(columns=columns))


@pytest.mark.parametrize("source", IMPORTERS)
def test_a_column_is_honoured_or_refused_and_never_passed_over(source: str):
    with pytest.raises(StackFailed, match="--column"):
        check_columns(make_job(source, shoe="x"))
    if "prompt" in IMPORTERS[source].columns:
        check_columns(make_job(source, prompt="x"))
    else:
        with pytest.raises(StackFailed, match="say `heliotrope import csv`"):
            check_columns(make_job(source, prompt="x"))


def test_a_speaker_who_is_neither_the_model_nor_its_user_is_not_guessed():
    turns = [{"author": "Customer", "text": "Hello"}, {"author": "Bob", "text": "Hello!"}]
    with pytest.raises(Refused, match="unknown_speaker: 'Bob'"):
        read_question(turns, Options())
