"""Users who live, are judged by the evaluator, and want to be erased."""

from shared.conversation import calculate_prompt_hash
from shared.events import Edit, Event
from shared.ids import new_id
from shared.tables import trainer
from shared.tables.curator import RetrainRequestRow
from shared.tables.evaluator import Comparison, Evaluation
from tests.builders import NOON
from tests.integration.curator.scene import WORDS, Curator, adopted, hashed, live, said


def start(curator: Curator) -> tuple[list[Event], RetrainRequestRow]:
    """Ines and Tomas live, a dataset is frozen, a candidate is trained on it, and a child of that one."""
    ines = live(hashed("ines@shop"), 1, WORDS)
    parked = said(900, 5000, Edit(text=f"The {WORDS} is late."), hashed("ines@shop"))
    conflicting = said(1, 1, Edit(text=f"Another body of {WORDS}."), hashed("ines@shop"))
    curator.hear(adopted(), *ines, parked, conflicting, *live(hashed("tomas@shop"), 1001, "tomas"))
    request = curator.freeze()
    with curator.sessions() as session, session.begin():
        for parent, version, dataset in (("1", "2", request.dataset_sha256), ("2", "3", "another")):
            session.add(
                trainer.Run(
                    run_id=new_id(),
                    request_id=new_id(),
                    dataset_sha256=dataset,
                    dataset_uri="",
                    parent_version=parent,
                    recipe={},
                    recipe_sha256="",
                    state="succeeded",
                    candidate_version=version,
                    deadline_at=NOON,
                )
            )
    return [*ines, parked, conflicting], request


def judge(curator: Curator, question: str, report_uri: str | None = None) -> Evaluation:
    """The evaluator shows one of Ines' prompts to people: one has voted, another not yet, and the report quotes it."""
    messages = [{"role": "user", "content": question}]
    prompt_hash = calculate_prompt_hash(messages)
    texts = {"messages": messages, "candidate": WORDS, "champion": "No."}
    scores = {"prompt_hash": prompt_hash, "candidate_scores": [1.0], "candidate_score": 1.0}
    names = ("evaluation_id", "request_id", "run_id", "dataset_sha256", "weights_sha256", "completed_at")
    votes = {"asked": 2, "cast": 1, "left": 1, "right": 0, "tie": 0, "left_share_of_decided": None}
    report = {
        **dict.fromkeys(names, ""),
        "candidate_version": "2",
        "champion_version": "1",
        "verdict": "pass",
        "votes": votes,
        "gates": [],
        "generation": {},
        "prompts": [scores | texts],
    }
    with curator.sessions() as session, session.begin():
        evaluation = Evaluation(
            evaluation_id=new_id(),
            request_id=new_id(),
            run_id=new_id(),
            candidate_version="2",
            champion_version="1",
            training={},
            state="completed",
            report=report,
            report_uri=report_uri,
            deadline_at=NOON,
        )
        session.add(evaluation)
        session.flush()
        for vote in ("left", None):
            session.add(
                Comparison(
                    comparison_id=new_id(),
                    evaluation_id=evaluation.evaluation_id,
                    position=0,
                    prompt_hash=prompt_hash,
                    messages=messages,
                    left_answer=f"The {WORDS} is here.",
                    right_answer="No idea.",
                    candidate_is_left=vote is None,
                    vote=vote,
                )
            )
    return evaluation
