"""Source `EspHome`: the sensors of one ESPHome device, over its native API.

TCP port 6053, protobuf messages in plaintext or encrypted by Noise with a pre-shared key; see
https://esphome.io/components/api.html. One connection stays open, since devices allow few; they
send every state once and then what changes. Needs aioesphomeapi (extra `esphome`; its import costs
29 MB).
"""

import asyncio
import base64
import binascii
import contextlib
import logging
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from pollect.api import (
    DETAIL,
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    Host,
    Metric,
    MissingDependency,
    NoData,
    ProbeError,
    Sample,
    Secret,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.async_background import AsyncBackgroundSource
from pollect_sources_home.esp_home.entities import Domain, Entities

if TYPE_CHECKING:
    from aioesphomeapi.client import APIClient
    from aioesphomeapi.model import DeviceInfo

#: For the name, the connection, the handshake and the list of entities together.
CONNECT_SECONDS = 10.0
#: The library pings after one to two such times of silence and waits 4.5 of them for the answer: a
#: dead device is noticed in 59 s.
PING_SECONDS = 9.0
#: How long to wait for the first states; they come at once.
STATES_SECONDS = 2.0
KEY_BYTES = 32

DEVICE_INFO = Metric(
    "device_info",
    help="What the device is, always 1 (details).",
    labels=("version", "model", "mac"),
    panel=DETAIL,
)


class EspHomeConfig(SourceConfig, frozen=True, kw_only=True):
    host: Annotated[Host, Meta(min_length=1, description="Address or name of the device.")]
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)], Meta(description="TCP port of the native API.")
    ] = 6053
    psk: Annotated[
        Secret,
        Meta(description="The `key` below `api: encryption:` of the device; none for plaintext."),
    ] = msgspec.field(default_factory=lambda: Secret(""))
    expected_name: Annotated[
        str | None, Meta(description="Name of the device; another one at this address is refused.")
    ] = None
    domains: Annotated[
        list[Domain], Meta(min_length=1, description="Kinds of entities to report.")
    ] = msgspec.field(default_factory=lambda: ["sensor"])


class EspHomeSource(AsyncBackgroundSource[EspHomeConfig]):
    """Latest states of the sensors of one device, which it sends by itself."""

    config_type = EspHomeConfig
    target_option = "host"
    metrics = (DEVICE_INFO,)
    dynamic_metrics = True

    def __init__(self, config: EspHomeConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        _check_key(config.psk)
        self._entities = Entities((), ())
        self._device: DeviceInfo | None = None
        self._mentioned_sleep = False

    async def open(self) -> None:
        try:
            import aioesphomeapi  # noqa: F401
        except ImportError as error:
            raise MissingDependency(
                "EspHome needs the library aioesphomeapi: "
                "pip install 'pollect-sources-home[esphome]'",
                requirement="pollect-sources-home[esphome]",
            ) from error
        # It reports each failure by an exception and in a log of its own; one of them will do.
        logging.getLogger("aioesphomeapi").setLevel(logging.CRITICAL)
        await super().open()

    async def receive(self) -> None:
        from aioesphomeapi.client import APIClient
        from aioesphomeapi.core import APIConnectionError

        # A client belongs to the loop it is made in, and to one key.
        client = APIClient(
            self.config.host,
            self.config.port,
            None,
            client_info="pollect",
            keepalive=PING_SECONDS,
            noise_psk=self.config.psk.reveal() or None,
            expected_name=self.config.expected_name,
        )
        try:
            await self._listen(client)
        except (APIConnectionError, TimeoutError) as error:
            raise _translate(error, self.config) from error
        finally:
            await client.disconnect(force=True)

    async def _listen(self, client: "APIClient") -> None:
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def note_end(expected: bool) -> None:
            if not ended.done():
                ended.set_result(expected)

        async with asyncio.timeout(CONNECT_SECONDS):
            await client.connect(on_stop=note_end, login=True)
            self._device = await client.device_info()
            infos, _ = await client.list_entities_services()
        self._entities = Entities(infos, self.config.domains)
        self._note_sleep(self._device)
        heard_all = asyncio.Event()

        def take(state: object) -> None:
            self._entities.take(state)
            if self._entities.complete:
                heard_all.set()

        client.subscribe_states(take)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STATES_SECONDS):
                await heard_all.wait()
        self.background.works()
        place = f"{self.config.host}:{self.config.port}"
        if await ended:
            raise TargetUnavailable(f"{place}: the device closed the connection")
        raise TargetUnavailable(f"{place}: the connection broke off")

    def _note_sleep(self, device: "DeviceInfo") -> None:
        if device.has_deep_sleep and not self.config.keep_stale and not self._mentioned_sleep:
            self._mentioned_sleep = True
            self.log.info("the device sleeps between its reports; keepStale: true keeps its values")

    def latest(self) -> Iterable[Sample]:
        samples = list(self._entities.samples())
        self.troubles.note("states", self._entities.problems())
        if self.config.details and self._device is not None:
            device = self._device
            samples.append(
                DEVICE_INFO.sample(1, device.esphome_version, device.model, device.mac_address)
            )
        if not samples:
            kinds = ", ".join(self.config.domains)
            raise NoData(f"the device has no entity with a state among: {kinds}")
        return samples


def _check_key(psk: Secret) -> None:
    try:
        length = len(base64.b64decode(psk.reveal(), validate=True))
    except (binascii.Error, ValueError):
        length = -1
    if psk and length != KEY_BYTES:
        raise ConfigError(
            f"expected {KEY_BYTES} bytes in Base64, as in the `key` of the device", key="psk"
        )


def _translate(error: Exception, config: EspHomeConfig) -> ProbeError:
    """Return what an error of the library means, and what to do about it."""
    from aioesphomeapi import core as library

    place = f"{config.host}:{config.port}"
    match error:
        case library.InvalidEncryptionKeyAPIError():
            return AuthenticationFailed(f"{place}: psk is not the encryption key of the device")
        case library.RequiresEncryptionAPIError():
            return AuthenticationFailed(
                f"{place} requires encryption: set psk to the `key` below its `api: encryption:`"
            )
        case library.EncryptionPlaintextAPIError():
            return AuthenticationFailed(
                f"{place} is not encrypted: leave out psk, or add `api: encryption:` to the device"
            )
        case library.InvalidAuthAPIError():
            return AuthenticationFailed(
                f"{place} asks for an API password: replace it by `api: encryption:` and set psk"
            )
        case library.BadNameAPIError():
            found = f"found {error.received_name!r:.80}"
            return BadResponse(f"{place}: expected the device {config.expected_name!r}, {found}")
        case library.ResolveAPIError():
            return TargetUnavailable(f"{config.host}: the name cannot be resolved")
        case TimeoutError() | library.TimeoutAPIError():
            return TargetUnavailable(f"{place}: no answer within {CONNECT_SECONDS:g} s")
        case library.ProtocolAPIError() | library.HandshakeAPIError():
            return BadResponse(f"{place} does not speak the native API of ESPHome: {error!s:.80}")
        case _:
            return TargetUnavailable(f"{place}: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """Return the system's reason for a failed connection, without the library's words around it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__
    return f"{error!s:.120}"
