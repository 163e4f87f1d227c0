"""From chat to thumb with the official OpenAI client: `drop_in.py GATEWAY_URL INGEST_URL KEY`."""

import sys

from heliotrope_client import Heliotrope, thumb
from openai import OpenAI

gateway, ingest, key = sys.argv[1:]
chat = OpenAI(base_url=f"{gateway}/v1", api_key=key).chat.completions.create(
    model="heliotrope", user="anna", messages=[{"role": "user", "content": "Where is my parcel?"}]
)
print(chat.choices[0].message.content)
with Heliotrope(ingest, key=key) as heliotrope:
    heliotrope.send(thumb(chat.id, "up", user_id="anna"))
