"""A Postgres role for each service: it may do what the service must, and nothing to what is not its own."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import make_url

from local.connections import EXISTING, name_variable
from local.roles import derive_role_url, make_roles
from local.servers.postgres import create_database, drop_database
from local.stack.preparation import migrate
from local.stack.stack import Stack
from shared.service_access import DATABASE_ROLES, PROCESSES, list_secrets, name_role
from shared.tables import Base

PASSWORD = "a-password-of-tests"
TABLES = [(str(table.schema), table.name) for table in Base.metadata.sorted_tables]


def connect(url: str) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))


def drop_roles(url: str, roles: Mapping[str, str]) -> None:
    with connect(url) as connection:
        for name in (name_role(connection.info.dbname, role) for role in roles):
            connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def urls(database_url: str) -> Iterator[Mapping[str, str]]:
    """By role; the tables belong to `migrator`."""
    passwords = dict.fromkeys([*DATABASE_ROLES, "migrator"], PASSWORD)
    make_roles(database_url, passwords)
    make_roles(database_url, passwords)  # safe to repeat
    yield {role: derive_role_url(database_url, role, PASSWORD) for role in passwords}
    drop_roles(database_url, passwords)


def may(connection: "psycopg.Connection[tuple[object, ...]]", statement: str, place: tuple[str, str]) -> bool:
    """Whether Postgres lets the statement through to the table; nothing stays of it."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL(statement).format(sql.Identifier(*place)))
    except InsufficientPrivilege:
        return False
    except psycopg.IntegrityError:  # it came as far as the row
        return True
    return True


def covers(places: tuple[str, ...], table: tuple[str, str]) -> bool:
    return table[0] in places or ".".join(table) in places


@pytest.mark.parametrize("role", DATABASE_ROLES)
def test_a_service_may_touch_its_own_tables_and_is_refused_an_insert_into_each_foreign_one(
    role: str, urls: Mapping[str, str]
):
    rights = DATABASE_ROLES[role]
    with connect(urls[role]) as connection:
        for table in TABLES:
            writes = covers(rights.writes, table) and not covers(rights.reads_only, table)
            assert may(connection, "INSERT INTO {} DEFAULT VALUES", table) is writes, table
            changes = writes and not covers(rights.appends, table)
            assert may(connection, "DELETE FROM {} WHERE false", table) is changes, table
            assert may(connection, "TRUNCATE {}", table) is False, table
            assert may(connection, "DROP TABLE {}", table) is False, table
            reads = writes or covers(rights.reads, table) or covers(rights.reads_only, table)
            assert may(connection, "SELECT FROM {} LIMIT 1", table) is reads, table


def test_no_service_makes_tables_or_roles_or_becomes_another(urls: Mapping[str, str]):
    for role in DATABASE_ROLES:
        with connect(urls[role]) as connection:
            other = name_role(connection.info.dbname, "migrator")
            for statement in (
                "CREATE TABLE curator.mine (x int)",
                "CREATE TABLE public.mine (x int)",
                "CREATE ROLE mine",
                f'SET ROLE "{other}"',
                "ALTER TABLE deployer.audit DISABLE TRIGGER append_only",
                "SELECT pg_read_file('/etc/passwd')",
            ):
                with pytest.raises(InsufficientPrivilege), connection.transaction(force_rollback=True):
                    connection.execute(statement)


def test_the_migrator_brings_the_schema_up_and_down_and_new_tables_get_their_rights(
    database_url: str, urls: Mapping[str, str]
):
    with connect(urls["migrator"]) as connection:
        connection.execute("CREATE TABLE curator.newest (x int)")
    migrate(urls["migrator"])
    with connect(urls["curator"]) as connection:
        connection.execute("INSERT INTO curator.newest VALUES (1)")
    with connect(urls["gateway"]) as connection:
        assert may(connection, "SELECT FROM {}", ("curator", "newest")) is False


def test_a_migrator_of_its_own_can_set_up_an_empty_database(database_url: str):
    """As where a database is given by others: a role that may create roles, and owns nothing but its database."""
    server = make_url(database_url)
    name = f"{server.database}_fresh"
    create_database(database_url, name)
    fresh = server.set(database=name).render_as_string(hide_password=False)
    with connect(database_url) as connection:
        connection.execute(f"CREATE ROLE {name}_owner LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
        connection.execute(f"ALTER DATABASE {name} OWNER TO {name}_owner")
    owner = server.set(database=name, username=f"{name}_owner", password=PASSWORD)
    url = owner.render_as_string(hide_password=False)
    passwords = dict.fromkeys([*DATABASE_ROLES, "migrator"], PASSWORD)
    try:
        migrate(url)
        make_roles(url, passwords)
        migrate(derive_role_url(fresh, "migrator", PASSWORD))
        with connect(derive_role_url(fresh, "curator", PASSWORD)) as connection:
            assert may(connection, "INSERT INTO {} DEFAULT VALUES", ("curator", "interactions"))
    finally:
        drop_roles(fresh, passwords)
        drop_database(database_url, name)
        with connect(database_url) as connection:
            connection.execute(f"DROP ROLE {name}_owner")


SMALL = ("ingest", "gateway", "curator", "drift-monitor", "trainer", "console")
"""Of our services those that need neither MLflow nor a model; the end-to-end test runs all of them with their roles."""


@pytest.fixture
def stack(find_port_base: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    for variable in EXISTING.values():
        monkeypatch.delenv(variable, raising=False)
    tmp_path.chmod(0o755)
    tmp_path.parent.chmod(0o755)
    only = ("postgres", "valkey", "broker", *SMALL)
    stack = Stack(tmp_path / "home", find_port_base(), only=only, throwaway=True)
    stack.up()
    yield stack
    stack.down()


def test_services_run_as_their_own_role_with_their_own_secrets_and_no_other(stack: Stack):
    secret_of = {name: name_variable(name) for name in list_secrets()}
    for health in stack.list_health():
        if health.name not in PROCESSES:
            continue
        environment = psutil.Process(health.pid).environ()
        held = {name for name, variable in secret_of.items() if environment.get(variable)}
        assert held - {"database_url"} <= set(PROCESSES[health.name].secrets), health.name
        assert stack.secrets.postgres_password not in "".join(environment.values()), health.name
    wanted = {name_role("heliotrope", PROCESSES[name].role) for name in SMALL} - {"heliotrope_gateway"}
    deadline = time.monotonic() + 20
    found: set[str] = set()
    with connect(stack.connections.database_url) as connection:
        while not wanted <= found and time.monotonic() < deadline:
            rows = connection.execute("SELECT usename FROM pg_stat_activity WHERE datname = 'heliotrope'").fetchall()
            found |= {str(row[0]) for row in rows}
    assert wanted <= found
