"""Who may see which page. What may be done is decided by the services, which take the person's own assertion."""

from dataclasses import dataclass

RATERS = ("rater", "ops", "admin")
READERS = ("data", "ops", "admin")
OPERATORS = ("ops", "admin")
REVIEWERS = ("data", "admin")
ADMINS = ("admin",)
EVERYBODY = ("rater", "data", "ops", "admin")


@dataclass(frozen=True)
class Page:
    """An entry of the navigation."""

    path: str
    title: str
    roles: tuple[str, ...]


PAGES = (
    Page("/", "Overview", READERS),
    Page("/rollouts", "Rollouts", OPERATORS),
    Page("/evaluations", "Evaluations", OPERATORS),
    Page("/rating", "Rate", RATERS),
    Page("/feedback", "Feedback", READERS),
    Page("/pairs", "Pairs", READERS),
    Page("/review", "Review", READERS),
    Page("/datasets", "Data", READERS),
    Page("/drift", "Drift", READERS),
    Page("/training", "Training", OPERATORS),
    Page("/audit", "Audit", OPERATORS),
    Page("/health", "Health", OPERATORS),
    Page("/settings", "Settings", OPERATORS),
)


def list_pages(role: str) -> list[Page]:
    """Return what a role may open, in the order of the navigation."""
    return [page for page in PAGES if role in page.roles]


def choose_home(role: str) -> str:
    """Return where somebody of this role begins."""
    return list_pages(role)[0].path


def derive_local_path(wanted: str | None, fallback: str) -> str:
    """Return `wanted` if it is a path of this console, else `fallback`: an address elsewhere is never followed."""
    if not wanted or not wanted.startswith("/") or wanted.startswith(("//", "/\\", "/sign-")):
        return fallback
    if "\\" in wanted or any(ord(letter) < 33 or ord(letter) == 127 for letter in wanted):
        return fallback
    return wanted
