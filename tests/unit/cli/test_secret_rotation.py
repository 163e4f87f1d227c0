"""A lost and a leaked secret of each kind: what stops, which command mends it, what goes on meanwhile."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import CliRunner

from cli.main import app
from local.credentials import load_secrets
from local.secret_rotation import KINDS, FolderSecrets, LocalSecrets, SecretStore, drop_former, rotate_secret
from shared.errors import Unauthenticated
from shared.feedback_tokens import FeedbackToken, FeedbackTokens
from shared.signing import (
    ASSERTION,
    BACKUP,
    MODEL,
    ROUTING,
    SignatureInvalid,
    Signer,
    Verifier,
    derive_public_key,
    generate_key,
)

SIGNED = {name: kind for name, kind in KINDS.items() if kind.signs}
PAYLOADS = {"routing": ROUTING, "assertion": ASSERTION, "backup": BACKUP}
NOW = datetime(2026, 11, 27, tzinfo=UTC)
TOKEN = FeedbackToken((UUID(int=1),), "a" * 32, "key", NOW + timedelta(days=7))


@pytest.fixture(params=("folder", "local"))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SecretStore:
    """With a secret of each kind, as an installation has them."""
    if request.param == "local":
        load_secrets(tmp_path / "secrets.json")
        found: SecretStore = LocalSecrets(tmp_path / "secrets.json")
        found.write({"backup_key": generate_key()})
    else:
        found = FolderSecrets(tmp_path)
        found.write({"feedback_token_secret": "the first secret"})
    lists: dict[str, list[str]] = {}
    for kind in SIGNED.values():
        found.write({kind.private: generate_key()})
        lists.setdefault(kind.kept, []).append(derive_public_key(found.read(kind.private)))
    found.write({kept: ",".join(keys) for kept, keys in lists.items()})
    return found


def is_trusted(store: SecretStore, name: str, signature: object) -> bool:
    """Whether a verifier that is started now takes what was signed."""
    verifier = Verifier(store.read(KINDS[name].kept).split(","))
    try:
        verifier.verify(PAYLOADS.get(name, MODEL), b"content", signature)  # type: ignore[arg-type]
    except SignatureInvalid:
        return False
    return True


def sign(store: SecretStore, name: str) -> object:
    return Signer(store.read(KINDS[name].private)).sign(PAYLOADS.get(name, MODEL), b"content")


@pytest.mark.parametrize("name", SIGNED)
def test_after_a_rotation_what_both_keys_signed_is_trusted_until_the_old_one_is_revoked(
    store: SecretStore, name: str
) -> None:
    before = sign(store, name)
    rotate_secret(KINDS[name], store, leaked=False)
    after = sign(store, name)
    assert (is_trusted(store, name, before), is_trusted(store, name, after)) == (True, True)
    assert len(drop_former(KINDS[name], store)) == 1
    assert (is_trusted(store, name, before), is_trusted(store, name, after)) == (False, True)


@pytest.mark.parametrize("name", SIGNED)
def test_a_leaked_keys_signatures_are_worth_nothing_at_once_and_other_keys_go_on(store: SecretStore, name: str) -> None:
    stolen = Signer(store.read(KINDS[name].private))
    others = {other: sign(store, other) for other in SIGNED if other != name}
    rotate_secret(KINDS[name], store, leaked=True)
    assert not is_trusted(store, name, stolen.sign(PAYLOADS.get(name, MODEL), b"content"))
    assert is_trusted(store, name, sign(store, name))
    assert all(is_trusted(store, other, signature) for other, signature in others.items())


@pytest.mark.parametrize("name", SIGNED)
def test_a_lost_key_is_replaced_and_what_it_signed_stays_good(store: SecretStore, name: str) -> None:
    before = sign(store, name)
    store.write({KINDS[name].private: ""})
    rotate_secret(KINDS[name], store, leaked=False)
    assert (is_trusted(store, name, before), is_trusted(store, name, sign(store, name))) == (True, True)


def open_tokens(store: SecretStore) -> FeedbackTokens:
    kept = [each for each in store.read("feedback_token_previous_secrets").split(",") if each]
    return FeedbackTokens(store.read("feedback_token_secret"), kept)


def test_queued_feedback_survives_a_rotation_of_the_token_secret_and_stolen_ones_do_not(store: SecretStore) -> None:
    queued = open_tokens(store).sign(TOKEN)
    rotate_secret(KINDS["feedback-token"], store, leaked=False)
    assert open_tokens(store).open(queued, NOW) == TOKEN
    forged = open_tokens(store).sign(TOKEN)
    rotate_secret(KINDS["feedback-token"], store, leaked=True)
    with pytest.raises(Unauthenticated):
        open_tokens(store).open(forged, NOW)
    assert open_tokens(store).open(queued, NOW) == TOKEN, "of the secret before the one that leaked"
    drop_former(KINDS["feedback-token"], store)
    with pytest.raises(Unauthenticated):
        open_tokens(store).open(queued, NOW)


def test_the_commands_say_what_to_restart_and_in_which_order(tmp_path: Path) -> None:
    run = CliRunner()
    store = FolderSecrets(tmp_path)
    store.write({"deployer_routing_key": (old := generate_key())})
    first = run.invoke(app, ["keys", "rotate", "routing", "--in", str(tmp_path)]).output
    assert "stays trusted" in first
    assert "Restart, one after the other: gateway; deployer." in first
    leaked = run.invoke(app, ["keys", "rotate", "routing", "--leaked", "--in", str(tmp_path)]).output
    assert "trusted no longer" in leaked
    assert "Restart, one after the other: deployer; gateway." in leaked
    assert derive_public_key(old) in store.read("gateway_routing_public_keys")
    assert "no longer trusted" in run.invoke(app, ["keys", "revoke", "routing", "--in", str(tmp_path)]).output
    assert derive_public_key(old) not in store.read("gateway_routing_public_keys")
    for number in (1, 2):
        said = run.invoke(app, ["keys", "rotate", "user-hash", "--in", str(tmp_path)]).output
        assert f"later secret number {number}" in said
    assert len(store.read("user_hash_later_secrets").split(",")) == 2
    assert "routing" in run.invoke(app, ["keys", "secrets", "--in", str(tmp_path)]).output


def test_a_file_keeps_who_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "heliotrope_deployer_routing_key"
    path.write_text(generate_key())
    path.chmod(0o600)
    rotate_secret(KINDS["routing"], FolderSecrets(tmp_path), leaked=False)
    assert path.stat().st_mode & 0o777 == 0o600
    secrets_file = tmp_path / "secrets.json"
    load_secrets(secrets_file)
    rotate_secret(KINDS["routing"], LocalSecrets(secrets_file), leaked=False)
    assert secrets_file.stat().st_mode & 0o777 == 0o600
    assert (
        load_secrets(secrets_file).gateway_routing_public_keys
        == json.loads(secrets_file.read_text())["gateway_routing_public_keys"]
    )
