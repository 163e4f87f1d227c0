"""Many requests at once: each reply is kept as soon as it is there, and the first failure ends the rest."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

CONCURRENCY = 8
BEAT_SECONDS = 2.0
Key = TypeVar("Key")
Reply = TypeVar("Reply")


def ask_all(
    keys: Iterable[Key],
    ask: Callable[[Key], Reply],
    keep: Callable[[Key, Reply], None],
    beat: Callable[[], None],
    concurrency: int = CONCURRENCY,
) -> None:
    """Ask for every key, so many at once; `keep` and `beat` are called in this thread.

    Raises: what `ask`, `keep` or `beat` raises; what is not under way by then is not begun.
    """
    with ThreadPoolExecutor(concurrency) as pool:
        waiting: dict[Future[Reply], Key] = {pool.submit(ask, key): key for key in keys}
        try:
            while waiting:
                done, _ = wait(waiting, timeout=BEAT_SECONDS, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda each: each.exception() is not None):  # a failure comes last
                    keep(waiting.pop(future), future.result())
                beat()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
