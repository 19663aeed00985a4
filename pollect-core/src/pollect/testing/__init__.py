"""For authors' tests: contract suite, fake clock, simulators, golden expositions."""

from pollect.testing.build import build_source, build_writer
from pollect.testing.certificates import Certificate, CertificateAuthority
from pollect.testing.clock import FakeClock
from pollect.testing.contract import SOURCE_PROMISES, WRITER_PROMISES, SourceCase, WriterCase
from pollect.testing.contract.running import Running
from pollect.testing.golden import compare_with_file, format_samples
from pollect.testing.http import HttpRequest, HttpResponse, HttpServer, Misbehaviour, serve_http
from pollect.testing.leaks import no_leaks
from pollect.testing.programs import StandIn, stand_in
from pollect.testing.servers import (
    TcpServer,
    UdpServer,
    absent_port,
    hang_up,
    serve_tcp,
    serve_udp,
    stay_silent,
    talk_rubbish,
)
from pollect.testing.sign_in import RehearsedSignIn
from pollect.testing.waiting import wait_until

__all__ = [
    "SOURCE_PROMISES",
    "WRITER_PROMISES",
    "Certificate",
    "CertificateAuthority",
    "FakeClock",
    "HttpRequest",
    "HttpResponse",
    "HttpServer",
    "Misbehaviour",
    "RehearsedSignIn",
    "Running",
    "SourceCase",
    "StandIn",
    "TcpServer",
    "UdpServer",
    "WriterCase",
    "absent_port",
    "build_source",
    "build_writer",
    "compare_with_file",
    "format_samples",
    "hang_up",
    "no_leaks",
    "serve_http",
    "serve_tcp",
    "serve_udp",
    "stand_in",
    "stay_silent",
    "talk_rubbish",
    "wait_until",
]
