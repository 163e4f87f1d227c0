"""Starts the compose file's MLflow behind a login: a user for each service that writes to it, and `admin` for people.

Run by the Python of MLflow's image, with nothing of ours; arguments are `mlflow server`'s. Everybody may read and
write, `admin` and the deployer, which takes aliases away, may do all. The files say who there is: a password that was
changed there holds from the next start on, and who is not named there any more is let in no more.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

SECRETS = Path(os.environ.get("MLFLOW_SECRETS_DIR", "/run/secrets"))
MAY_DO_ALL = ("admin", "deployer")
CONFIGURATION = """[mlflow]
default_permission = EDIT
database_uri = {database}
admin_username = admin
auth_cache_ttl_seconds = 30
"""
"""MLflow's form; checking a password takes it a tenth of a second, so that it remembers for some seconds."""


def read(name: str) -> str:
    return (SECRETS / name).read_text().strip()


def prepare(passwords: dict[str, str]) -> None:
    """Say in the environment what MLflow asks for: its database, its login's form, the key of its own pages."""
    database = read("database_url_mlflow")
    configuration = Path(tempfile.mkdtemp()) / "login.ini"
    configuration.touch(mode=0o600)
    configuration.write_text(CONFIGURATION.format(database=database.replace("%", "%%")))
    os.environ |= {
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_AUTH_CONFIG_PATH": str(configuration),
        "MLFLOW_AUTH_ADMIN_PASSWORD": passwords["admin"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": read("mlflow_session_key"),
    }


def keep_users(passwords: dict[str, str]) -> None:
    """Make, change and delete MLflow's users until they are these."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore  # reads the environment

    store = SqlAlchemyStore()
    store.init_db(os.environ["MLFLOW_BACKEND_STORE_URI"])
    for name, password in passwords.items():
        if not store.has_user(name):
            store.create_user(name, password, is_admin=name in MAY_DO_ALL)
        elif not store.authenticate_user(name, password):
            store.update_user(name, password)
    for user in store.list_users():
        if user.username not in passwords:
            store.delete_user(user.username)


def main() -> None:
    passwords = json.loads(read("mlflow_passwords"))
    prepare(passwords)
    keep_users(passwords)
    command = [str(Path(sys.executable).with_name("mlflow")), "server", "--app-name", "basic-auth", *sys.argv[1:]]
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
