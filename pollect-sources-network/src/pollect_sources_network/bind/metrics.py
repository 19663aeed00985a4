"""The metrics of the source `Bind` that do not depend on the server."""

from pollect.api import DETAIL, MOMENT, Headline, Kind, Metric, Panel

SERVER_QUERIES = Metric(
    "server.queries_per_sec",
    help="Incoming queries per second.",
    labels=("queryType",),
    headline=[Headline("queries/s", {"queryType": kind}) for kind in ("a", "aaaa")],
)
RESPONSES = Metric(
    "server.responses_per_sec", help="Responses sent per second.", labels=("rcode",), panel=DETAIL
)
REQUESTS = Metric(
    "server.requests_per_sec",
    help="Requests received per second.",
    labels=("opcode",),
    panel=DETAIL,
)
SERVER_EVENTS = Metric(
    "server.events_per_sec",
    help="What happened to queries, per second, in the words of BIND.",
    labels=("event",),
    panel=DETAIL,
)
RECURSIVE_CLIENTS = Metric(
    "server.recursive_clients",
    help="Clients waiting for recursion at the moment.",
    headline=Headline("waiting clients"),
    panel=DETAIL,
)
BOOT_TIME = Metric(
    "boot_time",
    help="When named was started, in seconds of Unix time.",
    unit="seconds",
    panel=MOMENT.needing("details"),
)
CONFIG_TIME = Metric(
    "config_time", help="When named last read its configuration, in seconds of Unix time.",
    unit="seconds",
 panel=MOMENT.needing("details"))  # fmt: skip

ZONE_SERIAL = Metric(
    "zone_serial",
    help="Serial number of a zone, as in its SOA record.",
    labels=("zone", "view", "type"),
    panel=Panel(needs=("zones|details",)),
)
TRAFFIC = {
    "received": Metric(
        "traffic_received_size_bucket",
        help="Requests received of at most `le` bytes, since named was started.",
        kind=Kind.COUNTER,
        labels=("transport", "le"),
        panel=Panel(needs=("traffic",)),
    ),
    "sent": Metric(
        "traffic_sent_size_bucket",
        help="Responses sent of at most `le` bytes, since named was started.",
        kind=Kind.COUNTER,
        labels=("transport", "le"),
        panel=Panel(needs=("traffic",)),
    ),
}
