"""A scraper for the tests, and builders of writers that need no patience."""

import gzip
import http.client
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from pollect.api import Writer
from pollect.testing import build_writer
from pollect_writers.prometheus.writer import PrometheusWriter

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def build_prometheus(
    writer_type: type[Writer[Any]] = PrometheusWriter, **section: object
) -> PrometheusWriter:
    """Return a writer on a free port of loopback that finds all sources probed."""
    section = {"port": 0, "bind": "127.0.0.1", "processMetrics": False, **section}
    writer = build_writer(section, writer_type)
    assert isinstance(writer, PrometheusWriter)
    writer.context.ready.set()
    return writer


@contextmanager
def serving(writer: PrometheusWriter) -> Iterator[PrometheusWriter]:
    writer.open()
    try:
        yield writer
    finally:
        writer.close()


class Answer:
    """What came back: the status, the headers in lower case, the text."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        body = response.read()
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.text = body.decode()


def request(
    writer: PrometheusWriter,
    path: str = "/metrics",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", writer.port, timeout=30)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        return Answer(connection.getresponse())
    finally:
        connection.close()


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged that an operator must know."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
