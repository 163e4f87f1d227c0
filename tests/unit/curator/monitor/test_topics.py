"""Topics that are named: at most a tenth of the names is wrong, quiet reports included."""

import numpy as np
import numpy.typing as npt

from services.curator.cells.domain.vectors import normalize
from services.curator.monitor.domain.topics import Topic, compare_topics, find_topics, select

CENTRES = np.eye(12, 32)
QUIET = np.array([1 / 11] * 11 + [0.0])


def ask(rng: np.random.Generator, shares: npt.NDArray[np.float64], users: int = 400) -> npt.NDArray[np.float32]:
    points = CENTRES[rng.choice(12, users, p=shares)] + 0.1 * rng.normal(size=(users, 32))
    return normalize(points.astype(np.float32))


def test_a_new_topic_is_named_and_the_others_are_not_said_to_shrink_for_it():
    rng = np.random.default_rng(301)
    new = np.append(QUIET[:11] * 0.8, 0.2)
    reports = [find_topics(ask(rng, QUIET), ask(rng, new), rng) for _ in range(20)]
    assert np.mean([any(topic.change == "new" for topic in report) for report in reports]) >= 0.9
    wrong = [np.mean([topic.change not in ("new", "grew") for topic in report] or [False]) for report in reports]
    assert np.mean(wrong) <= 0.1


def test_examples_are_prompts_of_the_topic():
    rng = np.random.default_rng(302)
    after = ask(rng, np.append(QUIET[:11] * 0.8, 0.2))
    topic = next(one for one in find_topics(ask(rng, QUIET), after, rng) if one.change == "new")
    assert isinstance(topic, Topic)
    assert len(topic.examples) == 3
    assert all(after[place] @ CENTRES[11] > 0.7 for place in topic.examples)


def test_a_vanished_topic_is_named():
    rng = np.random.default_rng(303)
    topics = find_topics(ask(rng, np.append(QUIET[:11] * 0.8, 0.2)), ask(rng, QUIET), rng)
    assert "vanished" in {topic.change for topic in topics}


def test_of_quiet_reports_at_most_a_tenth_names_anything():
    """Where nothing changed every name is wrong, so the false discovery rate is the share of reports with a name."""
    rng = np.random.default_rng(304)
    named = [bool(find_topics(ask(rng, QUIET, 200), ask(rng, QUIET, 200), rng)) for _ in range(60)]
    assert np.mean(named) <= 0.1


def test_a_topics_odds_leave_the_largest_mover_out():
    counts = np.array([[100, 100, 100, 0], [100, 100, 100, 150]])
    p_values = compare_topics(counts, largest=3)
    assert (p_values[:3] > 0.9).all()
    assert p_values[3] < 1e-9


def test_the_selection_allows_for_dependence():
    assert select(np.array([0.001, 0.02, 0.5, 0.9]), 0.1).tolist() == [True, True, False, False]
    assert not select(np.array([0.2, 0.3, 0.5, 0.9]), 0.1).any()
