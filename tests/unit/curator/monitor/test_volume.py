"""What counts as new, and what is never trained on twice."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from services.curator.datasets.domain.snapshot import Caps, Preview, derive_preview, derive_snapshot
from services.curator.monitor.domain.volume import Basis, Count, Volume, assess_volume, count_new, derive_bound
from services.curator.requests.domain import EarlierRequest, explain_repetition
from services.curator.weighing.domain.curation import curate
from services.curator.weighing.domain.history import Decisions
from tests.builders import MORNING
from tests.unit.curator.shop_votes import make_history, vote

BASIS = Basis("d1", "3", 0)
COUNT = Count(BASIS, 100, Volume(400, 12, 3, exact=True), MORNING, timedelta(seconds=4))


def test_what_caps_leave_out_is_not_new():
    history = make_history(vote(n, "ana", n, first=n % 2 == 0) for n in range(300))
    snapshot = derive_snapshot(curate(history, Decisions()), history, {}, Caps(200, 20))
    preview = derive_preview(snapshot, 300)
    assert count_new(preview, frozenset()).new_pairs == 200
    assert count_new(preview, preview.pairs) == Volume(200, 0, 0, exact=True)


def test_only_what_the_baseline_does_not_hold_is_new():
    preview = Preview(frozenset("abc"), frozenset("xy"), 9)
    assert count_new(preview, frozenset("abx")) == Volume(3, 1, 1, exact=True)


def test_after_a_count_there_is_at_most_what_was_counted_and_what_came_since():
    assert derive_bound(COUNT, 0, 0) == COUNT.volume
    assert derive_bound(COUNT, 5, 2) == Volume(405, 17, 5, exact=False)


def test_counting_takes_at_most_a_tenth_of_the_time():
    assert not COUNT.is_due_again(MORNING + timedelta(seconds=39))
    assert COUNT.is_due_again(MORNING + timedelta(seconds=40))


def test_enough_new_pairs_are_a_reason_and_a_bound_says_that_it_is_one():
    counted = Volume(900, 214, 40, exact=True)
    assert assess_volume(replace(counted, new_pairs=199), 200)[1] is None
    summary, reason = assess_volume(counted, 200)
    assert summary == "214 new preference pairs since the last dataset (threshold 200), 40 new labels"
    assert reason is not None
    assert (reason.kind, reason.value, reason.threshold) == ("volume", 214, 200)
    assert assess_volume(replace(counted, exact=False), 200)[0].startswith("at most 214 new preference pairs")


def test_rows_that_led_to_a_model_or_failed_twice_are_not_asked_for_again():
    failed, trained = EarlierRequest(UUID(int=1), trained=False), EarlierRequest(UUID(int=2), trained=True)
    assert explain_repetition([]) is None
    assert explain_repetition([failed]) is None
    assert explain_repetition([failed, failed]) == "2 requests for the same rows led to no model"
    assert str(UUID(int=2)) in (explain_repetition([failed, trained]) or "")
