"""Reward functions among the installed packages: where they are, and which code they are."""

import hashlib
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution
from pathlib import Path

from services.trainer.domain.training import TrainingFailed

GROUP = "heliotrope.reward_functions"
"""The group of entry points that a package declares its reward functions in."""


@dataclass(frozen=True)
class RewardFunction:
    """A function of an installed package that scores answers."""

    name: str
    """`package:entry point`, as recipes write it."""
    target: str
    """`module:attribute`."""
    place: str
    """The folder that its package is installed in."""
    sha256: str
    """Of the code: every file of the module's top-level package, with the package's version."""


def find_reward_function(name: str) -> RewardFunction:
    """Find the function without importing any of its code.

    Raises:
        TrainingFailed: no such package is installed, or it declares no such function.
    """
    package, _, entry = name.partition(":")
    try:
        found = distribution(package)
    except PackageNotFoundError as error:
        raise TrainingFailed(f"reward_function: the package {package!r} of {name!r} is not installed") from error
    points = list(found.entry_points.select(group=GROUP, name=entry))
    if not points:
        raise TrainingFailed(f"reward_function: the package {package!r} declares no {entry!r} in {GROUP}")
    place = str(found.locate_file(""))
    return RewardFunction(name, points[0].value, place, _calculate_sha256(found, points[0], place))


def _calculate_sha256(package: Distribution, point: EntryPoint, place: str) -> str:
    top = point.module.partition(".")[0]
    spec = PathFinder.find_spec(top, [place]) or PathFinder.find_spec(top)
    if spec is None or spec.origin is None:
        raise TrainingFailed(f"reward_function: the module {top!r} of {package.name!r} is not there")
    root = Path(spec.origin)
    digest = hashlib.sha256(f"{package.name} {package.version} {point.value}\n".encode())
    for file in _list_files(root.parent) if spec.submodule_search_locations else [root]:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(root.parent).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
