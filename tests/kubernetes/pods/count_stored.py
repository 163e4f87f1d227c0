"""Count which of the answers and events on stdin are in the tables, within two minutes; run in a curator's pod.

`rows` are all judgements of these answers: more than the events that were accepted would be one that counts twice.
"""

import json
import os
import sys
import time

from sqlalchemy import create_engine, text

DEADLINE_SECONDS = 120
QUERIES = {
    "answered": text("SELECT count(*) FROM curator.interactions WHERE interaction_id = ANY(CAST(:answered AS uuid[]))"),
    "accepted": text("SELECT count(*) FROM curator.feedback WHERE event_id = ANY(CAST(:accepted AS uuid[]))"),
    "rows": text("SELECT count(*) FROM curator.feedback WHERE interaction_id = ANY(CAST(:answered AS uuid[]))"),
}

ids = json.load(sys.stdin)
engine = create_engine(os.environ["HELIOTROPE_DATABASE_URL"])
found: dict[str, int] = {}
deadline = time.monotonic() + DEADLINE_SECONDS
while time.monotonic() < deadline and any(found.get(name) != len(ids[name]) for name in ids):
    with engine.connect() as connection:
        found = {name: connection.execute(query, ids).scalar_one() for name, query in QUERIES.items()}
    time.sleep(1)
json.dump(found, sys.stdout)
