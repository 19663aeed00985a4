"""What every SNMP source tells of its agent under `details`."""

from pollect.api import Metric, Sample
from pollect_sources_network.snmp.agent import Agent, Answer
from pollect_sources_network.snmp.oids import SYS_UPTIME
from pollect_sources_network.snmp.rates import TICKS_PER_SECOND

MILLISECONDS = 1000

RESPONSE = Metric("response_ms", help="Milliseconds the agent took to answer.", unit="ms")
UPTIME = Metric(
    "sys_uptime_seconds",
    help="Seconds since the agent started, as it says (sysUpTime).",
    unit="seconds",
)


def detail_samples(agent: Agent, answer: Answer) -> list[Sample]:
    """Return the time of the last answer, and what it says of the agent's uptime."""
    details = [RESPONSE.sample(agent.response_seconds * MILLISECONDS)]
    ticks = answer.values.get(SYS_UPTIME)
    if isinstance(ticks, int):
        details.append(UPTIME.sample(ticks / TICKS_PER_SECOND))
    return details
