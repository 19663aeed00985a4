"""Where a device is, however it is written in the config."""

from typing import Any

import pytest

from pollect.api import ConfigError
from pollect.testing import build_source
from pollect_sources_home.openhab.source import OpenhabSource
from pollect_sources_home.plex.source import PlexSource
from pollect_sources_home.web import base_url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("evcc.local", "http://evcc.local:80"),
        (" evcc.local:7070 ", "http://evcc.local:7070"),
        ("evcc.local:7070/", "http://evcc.local:7070"),
        ("evcc.local/evcc/", "http://evcc.local:80/evcc"),
        ("2001:db8::1", "http://[2001:db8::1]:80"),
        ("[2001:db8::1]", "http://[2001:db8::1]:80"),
        ("[2001:db8::1]:7070", "http://[2001:db8::1]:7070"),
        ("https://me:p%40ss@evcc.local/evcc/", "https://me:p%40ss@evcc.local/evcc"),
    ],
)
def test_a_host_with_port_or_without_or_a_url_is_a_base_url(host: str, url: str) -> None:
    assert base_url(host, 80) == url


@pytest.mark.parametrize("host", ["", "h:99999", "h:port", "h:80:90", "h h", "h/?a=1"])
def test_what_is_no_host_is_named_as_it_is_written(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        base_url(host, 80)
    assert "expected a host, with port or without, or a URL, got " in caught.value.problem
    assert caught.value.key == "host"


@pytest.mark.parametrize("source_type", [OpenhabSource, PlexSource])
def test_a_url_with_a_query_is_refused(source_type: Any) -> None:
    with pytest.raises(ConfigError, match="without a query") as caught:
        build_source({"url": "http://h:8080/?token=x"}, source_type)
    assert caught.value.key == "url"
