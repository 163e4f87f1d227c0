"""A curator's tables filled in SQL: so many interactions of 60 days, half of them with a vote, a fifth with a pair."""

import numpy as np
import psycopg

from bench.curator.tables import connect
from bench.size.look import START

DAYS = 60
PROMPTS = 20_000
DIMENSIONS = 512

INTERACTIONS = """
INSERT INTO curator.interactions (interaction_id, key_id, prompt_hash, answer, model_version, served_at, "user",
    content_hash, event)
SELECT lpad(to_hex(n), 32, '0')::uuid, 'bench', 'prompt-' || (n * 7919) %% %(prompts)s,
    repeat('We can offer you a new one today, your money back, or a courier tomorrow. ', 3), '7',
    %(start)s::timestamptz + n * (interval '60 days' / %(size)s), md5(((n * 104729) %% (%(size)s / 12 + 1))::text),
    'c', '{"metadata": {"channel": "web", "finish_reason": "stop"}, "prompt_tokens": 80}'
FROM generate_series(1, %(size)s) AS n
"""
FEEDBACK = """
INSERT INTO curator.feedback (event_id, key_id, interaction_id, type, "user", happened_at, received_at, content_hash,
    state, event)
SELECT interaction_id, 'bench', interaction_id, 'thumb', "user", served_at, served_at + interval '20 s', 'c',
    'attached',
    jsonb_build_object('type', 'FeedbackReceived', 'feedback', jsonb_build_object('type', 'thumb', 'value',
        CASE WHEN ('x' || substr(md5(interaction_id::text), 1, 4))::bit(16)::int < 52429 THEN 'up' ELSE 'down' END))
FROM curator.interactions WHERE get_byte(uuid_send(interaction_id), 15) %% 2 = 0
"""
PAIRS = """
INSERT INTO curator.pairs (pair_id, prompt_hash, rule, rule_version, chosen, rejected, rejected_interaction_id,
    rejected_version, evidence, epsilon, state, created_at)
SELECT 'pair-' || interaction_id, prompt_hash, 'edit', 1, answer || ' Thank you.', answer, interaction_id, '7',
    ARRAY[interaction_id], 0.08, 'active', served_at
FROM curator.interactions WHERE get_byte(uuid_send(interaction_id), 15) %% 5 = 0
"""
LABELS = """
INSERT INTO curator.labels (label_id, prompt_hash, rule, rule_version, interaction_id, model_version, desirable,
    evidence, epsilon, created_at)
SELECT 'label-' || event_id, prompt_hash, 'thumb', 1, interaction_id, '7', true, ARRAY[event_id], 0.1, received_at
FROM curator.feedback JOIN curator.interactions USING (interaction_id)
"""


def fill(url: str, size: int) -> None:
    """Fill migrated tables, and name a champion since the first day."""
    with connect(url) as connection:
        named = {"size": size, "prompts": PROMPTS, "start": START}
        _fill_prompts(connection)
        for statement in (INTERACTIONS, FEEDBACK, PAIRS, LABELS):
            connection.execute(statement.encode(), named)
        connection.execute(
            'INSERT INTO curator.routing (family, generation, champion_version, champion_since, "table") '
            "VALUES ('heliotrope', 1, '7', %s, '{}')",
            (START,),
        )
        connection.execute("VACUUM ANALYZE")


def _fill_prompts(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    connection.execute("INSERT INTO curator.cells (cell, split) VALUES ('bench', 'train')")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, DIMENSIONS))
    vectors = centres[rng.integers(0, 40, PROMPTS)] + rng.normal(size=(PROMPTS, DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    columns = "prompt_hash, messages, cell, split, form, embedding, embedder"
    with connection.cursor().copy(f"COPY curator.prompts ({columns}) FROM STDIN") as copy:
        for n, vector in enumerate(vectors.astype("<f2")):
            question = f'[{{"role": "user", "content": "My order {n} never arrived. What can you do about it?"}}]'
            copy.write_row((f"prompt-{n}", question, "bench", "train", 1, vector.tobytes(), "bench"))
