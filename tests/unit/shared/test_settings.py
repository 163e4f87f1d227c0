"""Settings speak clearly."""

import pytest

from shared.settings import Settings, load_settings


def test_a_wrong_variable_is_named_with_what_it_expects(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HELIOTROPE_PORT_BASE", "eighty")
    with pytest.raises(SystemExit) as exit_info:
        load_settings(Settings)
    assert exit_info.value.code == 2
    assert capsys.readouterr().err.startswith("HELIOTROPE_PORT_BASE: Input should be a valid integer")


def test_model_servers_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HELIOTROPE_MODEL_SERVER_URLS", "http://a/v1/, http://b/v1")
    assert load_settings(Settings).model_server_urls == ["http://a/v1", "http://b/v1"]


def test_secrets_do_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HELIOTROPE_USER_HASH_SECRET", "hunter2")
    assert "hunter2" not in repr(load_settings(Settings))


def test_a_process_listens_above_the_port_base_unless_its_own_port_is_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HELIOTROPE_PORT_BASE", "9000")
    assert load_settings(Settings).choose_port("drift-monitor") == 9009
    monkeypatch.setenv("HELIOTROPE_PORT", "80")
    assert load_settings(Settings).choose_port("drift-monitor") == 80


def test_a_proxy_is_an_address_or_a_network_and_never_everybody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HELIOTROPE_TRUSTED_PROXIES", "10.0.0.0/8, 2001:db8::1")
    assert load_settings(Settings).trusted_proxies == ["10.0.0.0/8", "2001:db8::1"]
    monkeypatch.setenv("HELIOTROPE_TRUSTED_PROXIES", "*")
    with pytest.raises(SystemExit):
        load_settings(Settings)
    assert capsys.readouterr().err.startswith("HELIOTROPE_TRUSTED_PROXIES")
