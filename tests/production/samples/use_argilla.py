"""What a team does with our export in Argilla: loads it, answers a record, and exports it nested and flat."""

import json
import sys
from pathlib import Path

import argilla

url, key, exported, again = sys.argv[1:]
client = argilla.Argilla(api_url=url, api_key=key)
dataset = argilla.Dataset.from_disk(exported, workspace="team", client=client)
dataset.to_disk(again)
flat = dataset.records(with_responses=True, with_suggestions=True).to_list(flatten=True)
Path(again, "flat.json").write_text(json.dumps(flat))

record = next(iter(dataset.records()))
other = {"response-1": "response-2", "response-2": "response-1"}[record.suggestions["preference"].value]
record.responses.add(argilla.Response("preference", other, user_id=client.me.id, status="submitted"))
dataset.records.log([record])
dataset.records(with_responses=True).to_json(Path(again, "corrected.json"))
Path(again, "corrected.txt").write_text(record.id)
