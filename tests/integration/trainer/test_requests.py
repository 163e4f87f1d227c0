"""A retrain request becomes a run."""

from services.trainer.consumer import RetrainHandler
from services.trainer.domain.recipe.parsing import parse_recipe
from tests.integration.trainer.scene import Sessions, list_announced, make_request, request


def test_a_request_makes_one_run_however_often_it_comes(sessions: Sessions):
    event = make_request()
    run = request(sessions, event)
    assert request(sessions, event).run_id == run.run_id
    assert (run.state, run.recipe["max_steps"], run.parent_version) == ("queued", 4, "1")
    assert list_announced(sessions) == []


def test_a_recipe_that_cannot_be_used_fails_the_run_and_says_why(sessions: Sessions):
    event = make_request(recipe="magic")
    for _ in range(2):
        assert request(sessions, event).state == "failed"
    [announced] = list_announced(sessions)
    assert (announced.outcome, announced.request_id) == ("failed", event.request_id)
    assert announced.reason == "recipe 'magic' cannot be used: no recipe 'magic'"


def test_a_recipe_whose_outcome_cannot_chat_fails_the_run(sessions: Sessions):
    handler = RetrainHandler(lambda name: parse_recipe({"name": name, "method": "reward", "max_steps": 4}), "taste", "")
    event = make_request()
    with sessions() as session, session.begin():
        handler.handle(session, event)
    [announced] = list_announced(sessions)
    assert announced.reason == "recipe 'taste' cannot be used: it trains no chat model (reward)"
