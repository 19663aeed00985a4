"""`Http` and `Certificate` against a real nginx, directly and through a real proxy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pollect.testing import build_source
from pollect_sources_network.certificate.source import CertificateSource
from pollect_sources_network.http.source import HttpSource
from tests.simulators.nginx import Nginx, run_nginx
from tests.simulators.tcp import closed_port
from tests.simulators.tinyproxy import run_tinyproxy
from tests.sources_network.samples import probe

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with run_nginx(tmp_path_factory.mktemp("nginx")) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A running tinyproxy: its URL and its log."""
    folder = tmp_path_factory.mktemp("tinyproxy")
    with run_tinyproxy(folder, "BasicAuth reader hunter2") as running:
        yield f"http://reader:hunter2@{running.address}", running.log


def test_pages_of_nginx_are_told_apart(nginx: Nginx) -> None:
    pages = {"/": 0, "/empty": 0, "/moved": 0, "/broken": 6, "/loop": 2}
    for root in (nginx.http, nginx.https):
        urls = [root + page for page in pages]
        section = {"url": urls, "details": True, "caFile": str(nginx.ca_file)}
        found = probe(build_source(section, HttpSource))
        assert [found[f"result_code{{url={url}}}"] for url in urls] == list(pages.values())
        assert found[f"redirects{{url={root}/moved}}"] == 1
        assert found[f"{{url={root}/broken}}"] == 10_000


def test_certificate_of_nginx_has_its_days(nginx: Nginx) -> None:
    section = {"url": nginx.https, "details": True, "caFile": str(nginx.ca_file)}
    source = build_source(section, CertificateSource)
    found = probe(source)
    expected = (found["cert_not_after"] - source.context.clock.time()) / 86_400
    assert found["cert_expire_days"] == int(expected)
    assert found["cert_valid"] == 1


def test_proxy_carries_plain_requests_and_tunnels(nginx: Nginx, proxy: tuple[str, Path]) -> None:
    url, log = proxy
    section = {"url": [nginx.http, nginx.https], "proxy": url, "caFile": str(nginx.ca_file)}
    found = probe(build_source({**section, "details": True}, HttpSource))
    assert found[f"success{{url={nginx.http}}}"] == found[f"success{{url={nginx.https}}}"] == 1
    assert found[f"phase_seconds{{url={nginx.https},phase=tls}}"] > 0
    used = log.read_text()
    assert "GET http://127.0.0.1" in used
    assert f"CONNECT 127.0.0.1:{nginx.tls_port}" in used


def test_refusing_proxy_is_a_failed_check_that_shows_no_password(
    nginx: Nginx, proxy: tuple[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="pollect")
    wrong = proxy[0].replace("hunter2", "hunter3")
    for url in (nginx.http, nginx.https):
        section = {"url": url, "proxy": wrong, "caFile": str(nginx.ca_file), "details": True}
        found = probe(build_source(section, HttpSource))
        assert (found["success"], found[""]) == (0, 10_000)
    assert "hunter" not in caplog.text


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_proxy_of_the_environment_counts_unless_it_is_empty(
    nginx: Nginx, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with closed_port() as port:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{port}")
        for section, success in (({}, 0), ({"proxy": ""}, 1)):
            source = build_source({"url": f"{nginx.http}/moved", **section}, HttpSource)
            assert probe(source)["success"] == success
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert probe(build_source({"url": nginx.http}, HttpSource))["success"] == 1
