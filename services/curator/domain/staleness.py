"""How far a writer is from the model that will be trained, and what that costs."""

from collections.abc import Iterable, Mapping

PER_VERSION = 0.01
LARGEST = 0.1


def calculate_staleness(versions: Iterable[str], ages: Mapping[str, int]) -> float:
    """The probability that a judgement of these writers' answers no longer holds: 1% for each version in between."""
    return min(PER_VERSION * max((ages.get(version, 0) for version in versions), default=0), LARGEST)


def calculate_ages(parent: str, parents: Mapping[str, str]) -> dict[str, int]:
    """Model versions between each known version and `parent`: the way up to their common forebear, and down again.

    `parents` says which version each was trained from.
    """
    above = _list_forebears(parent, parents)
    depth = {version: steps for steps, version in enumerate(above)}
    ages = dict(depth)
    for version in parents:
        way = _list_forebears(version, parents)
        ages[version] = next((steps + depth[at] for steps, at in enumerate(way) if at in depth), len(above))
    return ages


def _list_forebears(version: str, parents: Mapping[str, str]) -> list[str]:
    """The version itself, its parent, and so on; a circle is left where it closes."""
    way = [version]
    while (above := parents.get(way[-1])) is not None and above not in way:
        way.append(above)
    return way
