"""Where a try is written: a folder of its own each time, for what an earlier one left may serve users by now."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from local.errors import StackFailed

DEFAULT = Path("try")
OWNER_ALONE = 0o077
"""The mask of rights while users' texts are written."""


def find_folder(wanted: Path | None) -> Path:
    """Find a folder that holds nothing: the one that is wanted, or the first of try, try-2, try-3 that is not there.

    Raises: StackFailed: what is wanted cannot be written without overwriting something; says what to do.
    """
    if wanted is None:
        names = (DEFAULT.with_name(f"{DEFAULT.name}-{at}") if at > 1 else DEFAULT for at in count(1))
        return next(folder for folder in names if not os.path.lexists(folder))
    if problem := _explain_taken(wanted):
        raise StackFailed(
            f"--output {wanted} {problem}, and a try deletes nothing: name a folder that is not there yet, or leave "
            f"--output out ({DEFAULT}, then {DEFAULT}-2, ...)"
        )
    return wanted


def _explain_taken(folder: Path) -> str | None:
    if folder.is_symlink():
        return "is a link"
    if not os.path.lexists(folder):
        return None
    if not folder.is_dir():
        return "is a file"
    return "holds something already" if any(folder.iterdir()) else None


def make_folder(folder: Path) -> None:
    """Make it, with the folders above. Raises: StackFailed: it cannot be made, or something is in it by now."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackFailed(f"--output {folder} cannot be made: {error.strerror}") from None
    find_folder(folder)


@contextmanager
def writing_for_the_owner_alone() -> Iterator[None]:
    """Have all that is written meanwhile, by child processes too, be readable by its owner alone."""
    before = os.umask(OWNER_ALONE)
    try:
        yield
    finally:
        os.umask(before)
