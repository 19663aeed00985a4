"""The collector tier of `make outages`, in short: daemons, a broker and a `kill -9`.

Over NATS only: a group of Kafka takes several sessions to find together again, which are long on a
slow machine. `make outages` has it, and the tests of source and writer kill its broker as well.
"""

import pytest

from tests.outages.judge import SERIES
from tests.outages.run import Times
from tests.outages.tier import Result, Tier, play
from tests.outages.transports import NatsTransport


def test_killed_broker_and_killed_collector_lose_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(NatsTransport, "source", {"ackWait": 1})
    monkeypatch.setattr("tests.outages.tier.PAUSE_SECONDS", 0.5)
    result = Tier(NatsTransport(tmp_path), tmp_path, Times(0.2, 1, 0.2), print).run()
    assert result.problems == []
    assert result.expected >= 4 * SERIES
    # The messages that the killed collector had not acknowledged, and no more than those.
    assert result.twice <= 200 * SERIES


def test_loss_is_noticed_and_shown(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    def lose(tier: Tier) -> Result:
        return Result(tier._transport, expected=100, found=97, twice=5, lost=2)

    monkeypatch.setattr(Tier, "run", lose)
    assert play([NatsTransport], Times()) == 1
    assert "3 samples are missing; 2 samples were given up" in capsys.readouterr().out
