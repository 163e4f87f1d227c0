"""Token buckets, alone and told of what other processes took."""

import threading

import pytest
from redis import ConnectionError as RedisAway
from structlog.testing import capture_logs

from services.ingest.adapters.rate_limit_sync import RateLimitSync
from services.ingest.metrics import RATE_SYNCS_FAILED
from shared.rate_limits import RateLimit, RateLimited, RateLimiter, TokenBucket

LIMIT = RateLimit(events_per_second=10, burst=100)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Counters:
    """What RateLimitSync asks of Redis: INCRBY and EXPIRE in a pipeline, in memory."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.away = False
        self._answers: list[int] = []

    def pipeline(self, transaction: bool) -> "Counters":
        return self

    def __enter__(self) -> "Counters":
        self._answers = []
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""

    def incrby(self, name: str, count: int) -> None:
        self.totals[name] = self.totals.get(name, 0) + count
        self._answers.append(self.totals[name])

    def expire(self, name: str, seconds: int) -> None:
        self._answers.append(1)

    def execute(self) -> list[int]:
        if self.away:
            raise RedisAway("no server")
        return self._answers


def share(counters: Counters, limits: RateLimiter, interval_seconds: float = 1.0) -> RateLimitSync:
    return RateLimitSync(counters, "", limits, interval_seconds=interval_seconds)  # type: ignore[arg-type]


def take_as_many_as_allowed(limits: RateLimiter, key_id: str = "k") -> int:
    taken = 0
    while True:
        try:
            limits.take(key_id, 1)
        except RateLimited:
            return taken
        taken += 1


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate():
    bucket = TokenBucket(LIMIT, 0.0)
    assert bucket.take(100, 0.0) == 0
    assert bucket.take(5, 0.0) == pytest.approx(0.5)
    assert bucket.take(5, 0.5) == 0
    assert bucket.take(101, 1_000.0) > 0


def test_what_was_refused_is_not_taken():
    bucket = TokenBucket(LIMIT, 0.0)
    assert bucket.take(101, 0.0) > 0
    assert bucket.take(100, 0.0) == 0


def test_keys_have_buckets_of_their_own_and_the_error_says_when_to_come_back():
    clock = Clock()
    limits = RateLimiter(LIMIT, clock)
    assert take_as_many_as_allowed(limits, "a") == 100
    limits.take("b", 100)
    with pytest.raises(RateLimited) as refused:
        limits.take("a", 25)
    assert (refused.value.status, refused.value.retry_after_seconds) == (429, 3)
    clock.now += 3
    limits.take("a", 25)


def test_the_log_names_a_key_that_sends_too_much_now_and_then():
    clock = Clock()
    limits = RateLimiter(LIMIT, clock)
    with capture_logs() as logged:
        for _ in range(50):
            take_as_many_as_allowed(limits, "a")
            clock.now += 0.5
    assert {(line["event"], line["key_id"]) for line in logged} == {("key_rate_limited", "a")}
    assert len(logged) == 3


def test_processes_together_keep_one_rate_once_they_have_told_each_other():
    clock, counters = Clock(), Counters()
    limits = [RateLimiter(LIMIT, clock) for _ in range(4)]
    rates = [share(counters, one) for one in limits]
    for one in limits:
        take_as_many_as_allowed(one)
    for _ in range(2):  # the first turn only learns where the counters stand
        for rate in rates:
            rate.synchronise()
    taken = 0
    for _ in range(60):
        clock.now += 1
        taken += sum(take_as_many_as_allowed(one) for one in limits)
        for rate in rates:
            rate.synchronise()
    assert 0 < taken <= 60 * 10 * 1.5  # 10 events/s in all, where four alone would let 40 through


def test_without_redis_each_process_goes_on_by_itself_and_a_metric_tells():
    clock, counters = Clock(), Counters()
    counters.away = True
    limits = RateLimiter(LIMIT, clock)
    failed = RATE_SYNCS_FAILED._value.get()
    stop = threading.Event()
    running = threading.Thread(target=share(counters, limits, interval_seconds=0.01).run, args=(stop,))
    running.start()
    assert take_as_many_as_allowed(limits) == 100
    clock.now += 1
    assert take_as_many_as_allowed(limits) == 10
    while RATE_SYNCS_FAILED._value.get() <= failed:
        stop.wait(0.01)
    stop.set()
    running.join(5)


def test_no_limit_lets_everything_pass():
    RateLimiter(None, Clock()).take("k", 10**9)
