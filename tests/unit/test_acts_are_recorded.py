"""Whatever a person changes over HTTP or by a command leaves an act, which the deployer seals."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROUTE = re.compile(r"@router\.(?:post|put|patch|delete)\(\s*\"([^\"]*)\"")
IMPORTED = re.compile(r"^from (services\.[\w.]+) import", re.MULTILINE)
RECORDS = re.compile(r"\brecord_act\(|\.audit\(|\bappend_audit\(")

OF_USERS = {
    *(
        "ingest /feedback",
        "ingest /feedback/batch",
        "ingest /interactions",
        "ingest /interactions/batch",
        "ingest /traces",
    ),
    *("gateway /chat/completions", "evaluator /comparisons/{comparison_id}/vote", "deployer /assertions"),
    "deployer /shadow-comparisons",
}
"""Events of users and raters, which are kept as such, signing in, and what gateways measure."""
ACTIONS = {
    "curator": ("quarantine_{decision}", "retrain", "pause", "resume", "erase", "withdraw_import"),
    "trainer": ("cancel_run",),
    "deployer": ("change.command", "adopt", "open"),
}
COMMANDS = {
    "cli/accounts.py": ("create_account", "rotate_account", "change_role", "disable_account"),
    "cli/keys.py": ("create_key", "rotate_key", "revoke_key", "rotate_secret", "revoke_secret", "carry_users"),
    "cli/dead_letters.py": ("replay_dead_letters",),
    "cli/topics.py": ("rewind_group",),
    "cli/exchange/commands.py": ("begin_import", "end_import"),
    "local/stack/backup.py": ("begin_epoch",),
}


def list_routes() -> list[tuple[str, Path]]:
    """Return (service and route, file) of everything that changes something."""
    found = []
    for path in sorted((ROOT / "services").rglob("*.py")):
        service = path.relative_to(ROOT / "services").parts[0]
        if service == "console":  # it cannot write (tests/integration/console/test_doors.py): what it calls records
            continue
        found += [(f"{service} {route}", path) for route in ROUTE.findall(path.read_text())]
    return found


def read_with_imports(path: Path, depth: int = 3) -> str:
    """Return a module's code and that of the modules of its service that it imports."""
    code = path.read_text()
    if depth == 0:
        return code
    modules = (ROOT / f"{name.replace('.', '/')}.py" for name in IMPORTED.findall(code))
    return code + "".join(read_with_imports(module, depth - 1) for module in modules if module.is_file())


def test_the_search_finds_the_routes_that_there_are() -> None:
    names = {name for name, _ in list_routes()}
    assert names > OF_USERS
    assert {"curator /pause", "trainer /{run_id}/cancel", "deployer /rollback", "curator /withdrawals"} <= names


@pytest.mark.parametrize(("name", "path"), [each for each in list_routes() if each[0] not in OF_USERS])
def test_whoever_answers_a_route_that_changes_something_records_acts(name: str, path: Path) -> None:
    assert RECORDS.search(read_with_imports(path)), f"{name} leaves no act"


@pytest.mark.parametrize(("service", "action"), [(key, each) for key, actions in ACTIONS.items() for each in actions])
def test_the_service_records_the_act_by_its_name(service: str, action: str) -> None:
    code = "".join(path.read_text() for path in (ROOT / "services" / service).rglob("*.py"))
    calls = " ".join(re.findall(r"(?:record_act|\.audit|append_audit)\([^\n]*", code))
    assert re.search(rf"\"{re.escape(action)}\"|\b{re.escape(action)},", calls), calls


@pytest.mark.parametrize(("file", "action"), [(key, each) for key, actions in COMMANDS.items() for each in actions])
def test_the_command_records_the_act_by_its_name(file: str, action: str) -> None:
    assert re.search(rf"record_(?:command|if_reached)\([^\n]*\"{action}\"", (ROOT / file).read_text())
