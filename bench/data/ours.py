"""This commit's curator over a story."""

from bench.data.measures import CAPPED, Outcome
from bench.data.story import Story
from bench.noise.curator import run_curator


def curate_story(story: Story) -> Outcome:
    run = run_curator(story.groups, story.solicited)
    evidence = {one.item.item_id: one.item.evidence for one in run.curated.pairs}
    capped = [key for key, reason in run.snapshot.left_out.items() if reason in CAPPED and key in evidence]
    return Outcome(
        [
            ((one.item.prompt_hash, one.item.chosen, one.item.rejected), one.epsilon, one.item.evidence)
            for one in run.snapshot.train
        ],
        frozenset(run.quarantine.waiting),
        frozenset(event_id for key in capped for event_id in evidence[key]),
    )
