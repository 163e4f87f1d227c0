"""The report is only opened for somebody who can see it."""

import pytest

from local.demo.open_report import has_screen


@pytest.mark.parametrize(
    ("environment", "is_terminal", "platform", "expected"),
    [
        ({"DISPLAY": ":0"}, True, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True, "linux", True),
        ({}, True, "darwin", True),
        ({}, True, "linux", False),
        ({"DISPLAY": ":0", "CI": "true"}, True, "linux", False),
        ({"DISPLAY": ":0"}, False, "linux", False),
        ({"DISPLAY": ""}, True, "linux", False),
    ],
)
def test_a_page_is_opened_on_a_desktop_only_and_never_in_ci(environment, is_terminal, platform, expected):
    assert has_screen(environment, is_terminal=is_terminal, platform=platform) is expected
