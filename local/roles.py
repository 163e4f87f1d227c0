"""Postgres roles: one for each service, with the rights that `shared.service_access` lists and no other."""

from collections.abc import Iterable, Mapping
from typing import LiteralString, cast

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from shared.service_access import DATABASE_ROLES, OWNERS, DatabaseRole, name_role
from shared.tables import SCHEMAS

Connection = psycopg.Connection[tuple[object, ...]]
Statement = sql.Composed

CHANGES = sql.SQL("INSERT, UPDATE, DELETE")


def make_roles(admin_url: str, passwords: Mapping[str, str]) -> list[str]:
    """Make the roles of a migrated database, or renew their passwords and rights; returns their names.

    `passwords` are by role (`ingest`, `migrator`); a role without one is left as it is. The schemas go over to
    `migrator`, and MLflow's database, where there is one beside ours, to `mlflow`. `admin_url` must be allowed to
    create roles, and own what goes over or be a superuser.
    """
    with _open(admin_url) as connection:
        database = connection.info.dbname
        for role, password in passwords.items():
            _make_login(connection, name_role(database, role), password)
        if "migrator" in passwords:
            _hand_over(connection, name_role(database, "migrator"), SCHEMAS)
        _grant(connection)
    if "mlflow" in passwords:
        _hand_over_mlflow(admin_url, name_role(database, "mlflow"))
    return [name_role(database, role) for role in passwords]


def grant_rights(url: str) -> None:
    """Give the roles that exist their rights anew, for tables that a migration has added. Nothing without roles."""
    with _open(url) as connection:
        _grant(connection)


def derive_role_url(admin_url: str, role: str, password: str) -> str:
    """Return the URL with which a role reaches the database of `admin_url`."""
    url = make_url(admin_url)
    name = name_role(str(url.database), role)
    return url.set(username=name, password=password).render_as_string(hide_password=False)


def _open(url: str) -> Connection:
    libpq = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(libpq, connect_timeout=5)


def _make_login(connection: Connection, name: str, password: str) -> None:
    """The password is hashed here: the server's log never shows it."""
    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    verb = sql.SQL("ALTER" if exists else "CREATE")
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN NOCREATEDB NOCREATEROLE PASSWORD {}").format(
            verb, sql.Identifier(name), sql.Literal(verifier)
        )
    )


def _grant(connection: Connection) -> None:
    """In one transaction, so that running services never lack what they need."""
    database = connection.info.dbname
    if connection.execute("SELECT FROM pg_namespace WHERE nspname = ANY(%s)", (list(SCHEMAS),)).rowcount < len(SCHEMAS):
        return  # not migrated yet
    names = {role: name_role(database, role) for role in (*DATABASE_ROLES, *OWNERS)}
    rows = connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", (list(names.values()),))
    present = {str(row[0]) for row in rows}
    for role, rights in DATABASE_ROLES.items():
        if names[role] in present:
            for statement in list_grants(names[role], rights):
                connection.execute(statement)


def list_grants(name: str, rights: DatabaseRole) -> Iterable[Statement]:
    """Yield the statements that leave a role with these rights and no other."""
    role = sql.Identifier(name)
    for schema in SCHEMAS:
        yield sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {0} FROM {1}").format(sql.Identifier(schema), role)
        yield sql.SQL("REVOKE ALL ON ALL SEQUENCES IN SCHEMA {0} FROM {1}").format(sql.Identifier(schema), role)
        yield sql.SQL("REVOKE ALL ON SCHEMA {0} FROM {1}").format(sql.Identifier(schema), role)
    for schema in sorted({place.split(".")[0] for place in (*rights.reads, *rights.writes)}):
        yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), role)
    for place in (*rights.reads, *rights.writes):
        yield sql.SQL("GRANT SELECT ON {} TO {}").format(_name_tables(place), role)
    for place in rights.writes:
        yield sql.SQL("GRANT {} ON {} TO {}").format(CHANGES, _name_tables(place), role)
        within = sql.Identifier(place.split(".")[0])
        yield sql.SQL("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {} TO {}").format(within, role)
    for place in rights.reads_only:
        yield sql.SQL("REVOKE {} ON {} FROM {}").format(CHANGES, _name_tables(place), role)
    for place in rights.appends:
        yield sql.SQL("REVOKE UPDATE, DELETE ON {} FROM {}").format(_name_tables(place), role)


def _name_tables(place: str) -> Statement:
    schema, _, table = place.partition(".")
    if table:
        return sql.SQL("{}").format(sql.Identifier(schema, table))
    return sql.SQL("ALL TABLES IN SCHEMA {}").format(sql.Identifier(schema))


OWNED = """
SELECT relkind, nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE (nspname = ANY(%(schemas)s) OR (nspname = 'public' AND relname = 'alembic_version'))
  AND relkind IN ('r', 'p', 'v', 'S') AND pg_get_userbyid(relowner) <> %(owner)s
  AND NOT EXISTS (
      SELECT FROM pg_depend
      WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype IN ('a', 'i'))
"""
FUNCTIONS = """
SELECT pg_proc.oid::regprocedure::text FROM pg_proc
JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE nspname = ANY(%(schemas)s) AND prokind = 'f' AND pg_get_userbyid(proowner) <> %(owner)s
"""
KINDS = {"r": "TABLE", "p": "TABLE", "v": "VIEW", "S": "SEQUENCE"}


def _hand_over(connection: Connection, owner: str, schemas: Iterable[str]) -> None:
    """Make `owner` the owner of the schemas and all that is in them, and let it make more."""
    _join(connection, owner)
    new = sql.Identifier(owner)
    database = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, new))
    connection.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(new))
    found = {"schemas": list(schemas), "owner": owner}
    for name in found["schemas"]:
        connection.execute(sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(sql.Identifier(name), new))
    for kind, schema, table in connection.execute(OWNED, found).fetchall():
        thing, verb = sql.Identifier(str(schema), str(table)), sql.SQL(KINDS[_letter(kind)])
        connection.execute(sql.SQL("ALTER {} {} OWNER TO {}").format(verb, thing, new))
    for (signature,) in connection.execute(FUNCTIONS, found).fetchall():
        connection.execute(
            sql.SQL("ALTER FUNCTION {} OWNER TO {}").format(sql.SQL(cast(LiteralString, signature)), new)
        )


def _letter(kind: object) -> str:
    return kind.decode() if isinstance(kind, bytes) else str(kind)


def _join(connection: Connection, owner: str) -> None:
    """Who hands a thing over must belong to whom it goes to, unless it is a superuser."""
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    if row is None or not row[0]:
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(owner)))


def _hand_over_mlflow(admin_url: str, owner: str) -> None:
    url = make_url(admin_url)
    name = f"{url.database}_mlflow"
    with _open(admin_url) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            return
        _join(connection, owner)
        new = sql.Identifier(owner)
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), new))
    with _open(url.set(database=name).render_as_string(hide_password=False)) as connection:
        _hand_over(connection, owner, ["public"])
