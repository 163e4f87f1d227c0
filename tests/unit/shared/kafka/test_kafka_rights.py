"""The rights in docs/kafka.md are those that services need, and bootstraps read what the table of access says."""

from pathlib import Path

from shared.bus.access import SERVICES
from shared.bus.acls import list_rights

PAGE = Path(__file__).parents[4] / "docs/kafka.md"


def read_table() -> dict[str, str]:
    rights = PAGE.read_text("utf-8").partition("## Rights\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:] for line in rights.splitlines() if line.startswith("| ")]
    return {row[0].strip(): "|".join(row[1:]) for row in rows if row[0].strip() in SERVICES}


def test_the_page_names_every_right_and_no_other():
    table = read_table()
    assert table.keys() == SERVICES.keys()
    columns = [("Write", "topic"), ("Read", "topic"), ("DescribeConfigs", "topic"), ("Read", "group")]
    for service, row in table.items():
        for cell, (operation, resource) in zip(row.split("|"), columns, strict=False):
            needed = {
                right.name
                for right in list_rights()
                if (right.service, right.operation, right.resource) == (service, operation, resource)
            }
            assert set(cell.replace("`", "").replace(",", " ").split()) == needed


def test_a_prefix_keeps_deployments_apart():
    assert all(right.name.startswith("blue.") for right in list_rights("blue."))
