"""The sources of this distribution, one a line."""

from pollect.api import (
    Capability,
    Location,
    Needs,
    Port,
    Setting,
    SourceSpec,
    Suggestion,
    hookimpl,
)

#: Of the plugin API that this is written for.
api = 2

PACKAGE = "pollect_sources_network"

_SNMP = Needs(paths=(Location("", option="mibDirs", optional=True),))
_CREDENTIALS = Needs(paths=(Location("", option="credentials", optional=True),))


@hookimpl
def pollect_sources() -> list[SourceSpec]:
    """Return every source of this distribution."""
    return [
        SourceSpec(
            "Bind",
            f"{PACKAGE}.bind.source:BindSource",
            summary="Queries, resolver and cache of a BIND 9 name server",
        ),
        SourceSpec(
            "Certificate",
            f"{PACKAGE}.certificate.source:CertificateSource",
            summary="Days until TLS certificates expire, STARTTLS and files included",
        ),
        SourceSpec(
            "Dns",
            f"{PACKAGE}.dns:DnsSource",
            summary="Answers of DNS resolvers, and how long they take",
            extra="dns",
        ),
        SourceSpec(
            "Fritz",
            f"{PACKAGE}.fritz.source:FritzSource",
            summary="Internet traffic and state of a FRITZ!Box",
            aliases=("Fritzbox",),
            extra="fritz",
            exclusive=True,
        ),
        SourceSpec(
            "Http",
            f"{PACKAGE}.http.source:HttpSource",
            summary="Response time of URLs, with phases, status and body checks",
        ),
        SourceSpec(
            "HttpIngress",
            f"{PACKAGE}.http_ingress.source:HttpIngressSource",
            summary="Values that other programs push over HTTP",
            needs=Needs(ports=(Port("tcp", option="port", address="bind"),)),
            fleet=False,
        ),
        SourceSpec(
            "Kafka",
            f"{PACKAGE}.kafka:KafkaSource",
            summary="Batches of other daemons, from a topic of Kafka",
            extra="kafka",
            fleet=False,
        ),
        SourceSpec(
            "Nats",
            f"{PACKAGE}.nats:NatsSource",
            summary="Batches of other daemons, from a stream of NATS JetStream",
            extra="nats",
            needs=_CREDENTIALS,
            fleet=False,
        ),
        SourceSpec(
            "Ping",
            f"{PACKAGE}.ping:PingSource",
            summary="Round trip times, loss and jitter of ICMP echoes",
            needs=Needs(
                capabilities=(Capability("CAP_NET_RAW", "raw sockets"),),
                settings=(
                    Setting(
                        "net.ipv4.ping_group_range",
                        "0 2147483647",
                        instead_of="CAP_NET_RAW",
                        judge="group range",
                    ),
                ),
            ),
        ),
        SourceSpec(
            "SnmpGet",
            f"{PACKAGE}.snmp.get:SnmpGetSource",
            summary="Values of one SNMP agent, raw or as change per second",
            extra="snmp",
            needs=_SNMP,
        ),
        SourceSpec(
            "SnmpTable",
            f"{PACKAGE}.snmp.table:SnmpTableSource",
            summary="Tables of one SNMP agent: interfaces, storage, UPS, printers, or your own",
            extra="snmp",
            needs=_SNMP,
        ),
        SourceSpec(
            "TcpTime",
            f"{PACKAGE}.tcp_time:TcpTimeSource",
            summary="Time to connect to TCP ports, or to get an answer by TCP or UDP",
        ),
        SourceSpec(
            "TpLinkEap",
            f"{PACKAGE}.tp_link_eap.source:TpLinkEapSource",
            summary="Clients and radio traffic of a TP-Link EAP access point",
            exclusive=True,
        ),
    ]


@hookimpl
def pollect_suggestions() -> list[Suggestion]:
    """Return what suits this host, for `pollect init`."""
    from pollect_sources_network.suggestions import suggest

    return list(suggest())
