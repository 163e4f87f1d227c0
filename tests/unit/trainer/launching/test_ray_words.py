"""What is told of a run that died on a Ray cluster: its own last words, and none of Ray's tracebacks."""

from services.trainer.adapters.launching.ray import choose_words
from services.trainer.adapters.launching.ray_driver import choose_retries

PREFIX = "\x1b[36m(RayTrainWorker pid=17208)\x1b[0m"
LOG = f"""2026-11-28 11:28:02 Started training worker group of size 2
{PREFIX} the disk of this machine is on fire
{PREFIX} Error in training function:
{PREFIX} Traceback (most recent call last):
{PREFIX}   File "ray_driver.py", line 59, in train_on_machine\x1b[32m [repeated 3x across cluster]\x1b[0m
WorkerGroupError: Training failed due to worker errors
"""


def test_a_dead_runs_log_ends_with_its_own_words():
    assert choose_words(LOG).splitlines()[-1] == "(RayTrainWorker pid=17208) the disk of this machine is on fire"


def test_a_log_without_rays_words_is_taken_as_it_is():
    assert choose_words("no module named ray\n") == "no module named ray\n"
    assert len(choose_words("a" * 10_000)) == 4000


def test_ray_train_starts_nothing_again_by_itself_whatever_its_release():
    assert choose_retries({"max_failures", "fail_fast"}) == {"max_failures": 0}
    assert choose_retries({"max_failures", "max_preemption_failures"}) == {
        "max_failures": 0,
        "max_preemption_failures": 0,
    }
