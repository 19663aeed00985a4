"""Source `Dns`: does a resolver answer, how fast, and with what.

One query per server, name and record type and probe, side by side. UDP goes over to TCP when an
answer is truncated (RFC 1035, section 4.2); `tcp` and `tls` (RFC 7858) use nothing else. Whatever
goes wrong `success` is 0 and the time is withdrawn; the log tells once why, and once when it is
over. Needs dnspython (extra `dns`).
"""

import re
import socket
import time
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from msgspec import Meta

from pollect.api import (
    DETAIL,
    YES_IS_GOOD,
    YES_NO,
    ConfigError,
    Headline,
    Host,
    Metric,
    MissingDependency,
    Panel,
    Sample,
    Seconds,
    Source,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.connect import (
    SHORTEST_SECONDS,
    check_server_name,
    describe_failure,
    resolve,
)
from pollect.support.options import TlsTargetOptions
from pollect_sources_network.parallel import longest_seconds, side_by_side

if TYPE_CHECKING:
    import ssl

    from dns.message import Message
    from dns.rrset import RRset

DNS_PORT = 53
DNS_OVER_TLS_PORT = 853
#: What fits in one packet on any path (DNS Flag Day 2020).
EDNS_PAYLOAD_BYTES = 1232

RecordType: TypeAlias = Literal[
    "A", "AAAA", "ANY", "CAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA",
    "SRV", "SSHFP", "SVCB", "TLSA", "TXT", "URI",
]  # fmt: skip
#: As their assigned numbers, RFC 6895.
RCODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}

_LABELS = ("server", "query", "record_type")

SUCCESS = Metric(
    "success",
    help="1 when the resolver answered as expected, 0 when not.",
    labels=_LABELS,
    headline=Headline("ok"),
    panel=YES_IS_GOOD,
)
QUERY_TIME = Metric(
    "query_seconds",
    help="Seconds from the query to its answer, connecting included.",
    unit="seconds",
    labels=_LABELS,
    headline=Headline("answers in"),
)
RCODE = Metric(
    "rcode",
    help="Response code: 0 no error, 2 server failure, 3 no such name, 5 refused.",
    labels=_LABELS,
    panel=Panel(states={number: name for name, number in RCODES.items()}, good=(0,)).needing(
        "details"
    ),
)
ANSWERS = Metric(
    "answers", help="Number of records of the type asked for.", labels=_LABELS, panel=DETAIL
)
TTL = Metric(
    "ttl_seconds",
    help="Smallest time to live of the answer in seconds.",
    unit="seconds",
    labels=_LABELS,
    panel=DETAIL,
)
SERIAL = Metric(
    "soa_serial", help="Serial number of the zone, for SOA queries.", labels=_LABELS, panel=DETAIL
)
AUTHENTICATED = Metric(
    "authenticated",
    help="1 when the resolver vouches for the answer by DNSSEC.",
    labels=_LABELS,
    panel=YES_NO.needing("details"),
)
AUTHORITATIVE = Metric(
    "authoritative",
    help="1 when the server answers for its own zone.",
    labels=_LABELS,
    panel=YES_NO.needing("details"),
)


class DnsConfig(TlsTargetOptions, frozen=True, kw_only=True):
    server: Annotated[
        Host | tuple[Host, ...],
        Meta(description="Name or address of the resolver, or a list; with `port` if not 53."),
    ]
    query: Annotated[
        Host | tuple[Host, ...], Meta(description="Name to ask for, or a list of names.")
    ]
    record_type: Annotated[
        RecordType | tuple[RecordType, ...],
        Meta(description="Record type to ask for, or a list of them."),
    ] = "A"
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(description="Port of the resolver; default: 53, or 853 with `tls`."),
    ] = None
    transport: Annotated[
        Literal["udp", "tcp", "tls"], Meta(description="How to talk to the resolver.")
    ] = "udp"
    timeout: Annotated[Seconds, Meta(description="Seconds one query may take.")] = 5.0
    rcode: Annotated[
        Literal["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"] | None,
        Meta(description="Response code that counts as success; null for any."),
    ] = "NOERROR"
    match: Annotated[
        str, Meta(description="Regular expression that at least one record must match.")
    ] = ""
    recursive: Annotated[
        bool, Meta(description="Whether to ask the server to find out, not only what it has.")
    ] = True
    dnssec: Annotated[bool, Meta(description="Whether to ask for DNSSEC.")] = False


@dataclass(frozen=True, slots=True)
class Question:
    """One query of a probe."""

    server: str
    name: str
    record_type: str

    @property
    def labels(self) -> tuple[str, str, str]:
        """Label values of everything that is reported about it."""
        return self.server, self.name, self.record_type

    def __str__(self) -> str:
        return f"{self.server}, {self.record_type} of {self.name}"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and how long it took."""

    message: "Message"
    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something failed."""

    reason: str
    #: The same for reasons that differ in their wording only.
    kind: Hashable


class DnsSource(Source[DnsConfig]):
    """Answers of resolvers and how long they take; one query per server, name and type."""

    config_type = DnsConfig
    target_option = "server"
    metrics = (SUCCESS, QUERY_TIME, RCODE, ANSWERS, TTL, SERIAL, AUTHENTICATED, AUTHORITATIVE)

    def __init__(self, config: DnsConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._questions = [
            Question(server, name, record_type)
            for server in _several(config.server, "server")
            for name in _several(config.query, "query")
            for record_type in _several(config.record_type, "recordType")
        ]
        for question in self._questions:
            _check_name(question.name)
        if config.server_name:
            check_server_name(config.server_name)
        self._expected_rcode = RCODES[config.rcode] if config.rcode else None
        try:
            self._match = re.compile(config.match) if config.match else None
        except re.error as error:
            raise ConfigError(f"expected a regular expression: {error}", key="match") from error
        self._tls: ssl.SSLContext | None = None

    def open(self) -> None:
        try:
            import dns.query  # noqa: F401 - the first of all that is needed later
        except ImportError as error:
            raise MissingDependency(
                "Dns needs the library dnspython: pip install 'pollect-sources-network[dns]'",
                requirement="pollect-sources-network[dns]",
            ) from error
        if self.config.transport == "tls":
            from pollect.support.tls import build_ssl_context

            try:
                files = self.config.tls_files(self.context.config_dir)
                self._tls = build_ssl_context(**files)
            except OSError as error:
                raise TargetUnavailable(describe_failure(error)) from error

    def probe(self) -> Iterable[Sample]:
        replies = side_by_side(self._ask, self._questions, self.config.parallel)
        answers = dict(zip(self._questions, replies, strict=True))
        self._tell(answers)
        return [
            sample
            for question, reply in answers.items()
            for sample in self._report(question, reply)
        ]

    def deadline_seconds(self) -> float:
        return longest_seconds(len(self._questions), self.config.parallel, self.config.timeout)

    def _tell(self, answers: Mapping[Question, Reply | Failure]) -> None:
        """Tell the log what fails; a server that answers nothing at all counts as one."""
        alive = {question.server for question, it in answers.items() if isinstance(it, Reply)}
        for question, answer in answers.items():
            if question.server in alive:
                self.troubles.works(question.server)
                if isinstance(answer, Reply):
                    self._tell_of(str(question), self._objection(question, answer.message))
                else:
                    self._tell_of(str(question), answer)
            elif isinstance(answer, Failure):
                self._tell_of(question.server, answer)

    def _tell_of(self, part: str, failure: Failure | None) -> None:
        if failure is None:
            self.troubles.works(part)
        else:
            self.troubles.failed(part, failure.reason, failure.kind)

    def _ask(self, question: Question) -> Reply | Failure:
        import dns.exception

        begin = time.monotonic()
        try:
            message = self._exchange(question)
        except (OSError, EOFError, dns.exception.DNSException) as error:
            self.log.debug("%s: %s: %s", question, type(error).__name__, error)
            return _failure_of(error)
        return Reply(message, time.monotonic() - begin)

    def _exchange(self, question: Question) -> "Message":
        import dns.query

        config = self.config
        query = _build_query(question, config)
        end = time.monotonic() + config.timeout
        usual = DNS_OVER_TLS_PORT if config.transport == "tls" else DNS_PORT
        found = resolve(
            question.server, config.port or usual, socket.SOCK_DGRAM, config.ip_protocol
        )
        address, port = found[0][-1][:2]
        left = max(end - time.monotonic(), SHORTEST_SECONDS)
        if config.transport == "tls":
            name = config.server_name or question.server
            return dns.query.tls(
                query, address, left, port, ssl_context=self._tls, server_hostname=name
            )
        if config.transport == "tcp":
            return dns.query.tcp(query, address, left, port)
        # What comes from elsewhere or answers another question is ignored, RFC 5452, section 9.1.
        message = dns.query.udp(
            query, address, left, port, ignore_unexpected=True, ignore_errors=True
        )
        if _is_truncated(message):
            left = max(end - time.monotonic(), SHORTEST_SECONDS)
            message = dns.query.tcp(query, address, left, port)
        return message

    def _report(self, question: Question, reply: Reply | Failure) -> Iterable[Sample]:
        labels = question.labels
        if isinstance(reply, Failure):
            yield SUCCESS.sample(0, *labels)
            return
        message = reply.message
        records = _records(message, question)
        texts = _texts(records)
        yield SUCCESS.sample(self._objection(question, message) is None, *labels)
        yield QUERY_TIME.sample(reply.seconds, *labels)
        if not self.config.details:
            return
        import dns.flags

        yield RCODE.sample(int(message.rcode()), *labels)
        yield ANSWERS.sample(len(texts), *labels)
        if message.answer:
            yield TTL.sample(min(rrset.ttl for rrset in message.answer), *labels)
        for rrset in records:
            if question.record_type == "SOA":
                yield SERIAL.sample(rrset[0].serial, *labels)
        yield AUTHENTICATED.sample(bool(message.flags & dns.flags.AD), *labels)
        yield AUTHORITATIVE.sample(bool(message.flags & dns.flags.AA), *labels)

    def _objection(self, question: Question, message: "Message") -> Failure | None:
        """Return what is wrong with an answer, None when it is as expected."""
        import dns.rcode

        code = message.rcode()
        if self._expected_rcode not in (None, code):
            return Failure(f"{dns.rcode.to_text(code)}, expected {self.config.rcode}", code)
        texts = _texts(_records(message, question))
        if self._match is None or any(self._match.search(text) for text in texts):
            return None
        return Failure("no record is as `match` asks for", "match")


def _records(message: "Message", question: Question) -> list["RRset"]:
    """Return the records of the type asked for."""
    return [rrset for rrset in message.answer if rrset.rdtype.name == question.record_type]


def _texts(records: Iterable["RRset"]) -> list[str]:
    return [record.to_text() for rrset in records for record in rrset]


def _failure_of(error: Exception) -> Failure:
    import dns.exception

    kind = (type(error), getattr(error, "errno", None))
    if isinstance(error, (TimeoutError, dns.exception.Timeout)):
        return Failure("no answer in time", TimeoutError)
    text = getattr(error, "strerror", None) or str(error)
    return Failure(text or type(error).__name__, kind)


def _several(value: str | tuple[str, ...], key: str) -> list[str]:
    values = [value] if isinstance(value, str) else list(dict.fromkeys(value))
    if not values or not all(values):
        raise ConfigError("expected at least one, and none of them empty", key=key)
    return values


def _check_name(name: str) -> None:
    try:
        if name != ".":
            name.encode("idna")
    except UnicodeError as error:
        raise ConfigError(f"expected a name of DNS, got {name!r}", key="query") from error


def _build_query(question: Question, config: DnsConfig) -> "Message":
    import dns.flags
    import dns.message

    query = dns.message.make_query(
        question.name,
        question.record_type,
        use_edns=0,
        payload=EDNS_PAYLOAD_BYTES,
        want_dnssec=config.dnssec,
    )
    if not config.recursive:
        query.flags &= ~dns.flags.RD
    return query


def _is_truncated(message: "Message") -> bool:
    import dns.flags

    return bool(message.flags & dns.flags.TC)
