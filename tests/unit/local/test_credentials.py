"""Secrets are made once, kept, and for their owner only."""

from pathlib import Path

from local.credentials import load_secrets, write_private


def test_secrets_are_made_once_and_then_kept(tmp_path: Path):
    first = load_secrets(tmp_path / "secrets.json")
    assert load_secrets(tmp_path / "secrets.json") == first
    assert len({first.postgres_password, first.valkey_password, first.user_hash_secret}) == 3


def test_a_secret_that_a_newer_build_needs_is_added_to_the_old_ones(tmp_path: Path):
    write_private(tmp_path / "secrets.json", {"postgres_password": "old"})
    secrets = load_secrets(tmp_path / "secrets.json")
    assert secrets.postgres_password == "old"
    assert len(secrets.feedback_token_secret) >= 16


def test_private_files_are_readable_by_their_owner_only(tmp_path: Path):
    path = tmp_path / "credentials.json"
    path.write_text("{}")
    path.chmod(0o644)
    write_private(path, {"admin": "hk_1"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
