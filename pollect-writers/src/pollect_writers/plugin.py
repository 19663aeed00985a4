"""The writers of this distribution, one a line."""

from typing import TYPE_CHECKING

from pollect.api import Location, Needs, Port, Suggestion, WriterSpec, hookimpl

if TYPE_CHECKING:
    import click

#: Of the plugin API that this is written for.
api = 2

PACKAGE = "pollect_writers"

_ENDPOINT = Needs(ports=(Port("tcp", option="port", address="bind"),))
_OUTPUT = Location("", option="path", write=True, optional=True)


@hookimpl
def pollect_writers() -> list[WriterSpec]:
    """Return every writer of this distribution."""
    return [
        WriterSpec(
            "Prometheus",
            f"{PACKAGE}.prometheus.writer:PrometheusWriter",
            summary="An HTTP endpoint that Prometheus scrapes",
            needs=_ENDPOINT,
        ),
        WriterSpec(
            "PrometheusSsl",
            f"{PACKAGE}.prometheus.writer:PrometheusSslWriter",
            summary="The endpoint of Prometheus, over TLS",
            needs=_ENDPOINT,
        ),
        WriterSpec(
            "Web",
            f"{PACKAGE}.web:WebWriter",
            summary="The page in the browser, without the endpoint of Prometheus",
        ),
        WriterSpec(
            "Otel",
            f"{PACKAGE}.otel.writer:OtelWriter",
            summary="OpenTelemetry collectors, by OTLP over HTTP",
            extra="otel",
        ),
        WriterSpec(
            "Mqtt",
            f"{PACKAGE}.mqtt.writer:MqttWriter",
            summary="Retained MQTT messages, with discovery for Home Assistant",
            extra="mqtt",
        ),
        WriterSpec(
            "Nats",
            f"{PACKAGE}.nats:NatsWriter",
            summary="Batches for other daemons, by a stream of NATS JetStream",
            extra="nats",
            needs=Needs(paths=(Location("", option="credentials", optional=True),)),
        ),
        WriterSpec(
            "Kafka",
            f"{PACKAGE}.kafka:KafkaWriter",
            summary="Batches for other daemons, by a topic of Kafka",
            extra="kafka",
        ),
        WriterSpec(
            "InfluxDb",
            f"{PACKAGE}.influx_db:InfluxDbWriter",
            summary="InfluxDB 1, 2 and 3",
        ),
        WriterSpec(
            "PrometheusRemoteWrite",
            f"{PACKAGE}.prometheus_remote_write.writer:PrometheusRemoteWriteWriter",
            summary="Prometheus, VictoriaMetrics and Mimir, by remote write",
            extra="remote-write",
        ),
        WriterSpec(
            "Graphite",
            f"{PACKAGE}.graphite:GraphiteWriter",
            summary="Graphite's plain text over TCP",
        ),
        WriterSpec(
            "JsonLines",
            f"{PACKAGE}.json_lines:JsonLinesWriter",
            summary="Lines of JSON, to standard output or a file with rotation",
            needs=Needs(families=(), paths=(_OUTPUT,)),
        ),
        WriterSpec(
            "Sql",
            f"{PACKAGE}.sql.writer:SqlWriter",
            summary="History in SQLite, PostgreSQL and other databases",
            needs=Needs(paths=(_OUTPUT,)),
        ),
        WriterSpec(
            "Notify",
            f"{PACKAGE}.notify.writer:NotifyWriter",
            summary="Alerts to phones, mailboxes and chats, by apprise",
            extra="notify",
        ),
    ]


@hookimpl
def pollect_commands() -> list["click.Command"]:
    """Return the commands that belong to writers."""
    from pollect_writers.commands import hash_password

    return [hash_password]


@hookimpl
def pollect_suggestions() -> list[Suggestion]:
    """Return what suits this host, for `pollect init`."""
    from pollect_writers.suggestions import suggest

    return list(suggest())
