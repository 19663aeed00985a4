"""The sources of this distribution, one a line."""

from pollect.api import SourceSpec, hookimpl

PACKAGE = "pollect_sources_network"


@hookimpl
def pollect_sources() -> list[SourceSpec]:
    """Return every source of this distribution."""
    return [
        SourceSpec(
            "Certificate",
            f"{PACKAGE}.certificate.source:CertificateSource",
            summary="Days until TLS certificates expire, STARTTLS and files included",
        ),
        SourceSpec(
            "Http",
            f"{PACKAGE}.http:HttpSource",
            summary="Response time of URLs, with phases, status and body checks",
        ),
        SourceSpec(
            "HttpIngress",
            f"{PACKAGE}.http_ingress.source:HttpIngressSource",
            summary="Values that other programs push over HTTP",
        ),
        SourceSpec(
            "SnmpGet",
            f"{PACKAGE}.snmp.get:SnmpGetSource",
            summary="Values of one SNMP agent, raw or as change per second",
            extra="snmp",
        ),
        SourceSpec(
            "SnmpTable",
            f"{PACKAGE}.snmp.table:SnmpTableSource",
            summary="Tables of one SNMP agent: interfaces, storage, UPS, sensors, or your own",
            extra="snmp",
        ),
        SourceSpec(
            "TcpTime",
            f"{PACKAGE}.tcp_time:TcpTimeSource",
            summary="Time to connect to TCP ports, or to get an answer",
        ),
    ]
