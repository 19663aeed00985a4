"""The Homematic IP cloud as the library homematicip simulates it for its own tests.

`make test` unpacks it into `.bench/homematicip`. It runs here on a thread of its own; what it
cannot do (block, die, be slow) is done in front of it.
"""

import asyncio
import importlib.util
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

DEMO = Path(".bench/homematicip/homematicip_demo").absolute()
ACCESS_POINT = "3014F711A000000BAD0C0DED"
TOKEN = "8A45BAA53BE37E3FCA58E9976EFA4C497DAFE55DB997DB9FD685236E5E63ED7DE"
STATE = "/hmip/home/getCurrentState"
START_SECONDS = 30.0

#: Status and JSON to answer with instead of the cloud; None lets the cloud answer.
Instead = Callable[[str], tuple[int, Any, Mapping[str, str]] | None]

needs_cloud = pytest.mark.skipif(
    not DEMO.exists(),
    reason="the simulated cloud is not in .bench/homematicip; `make test` does it",
)


class HomematicCloud:
    """The simulated cloud on loopback."""

    def __init__(self, home: Path | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="homematic cloud", daemon=True)
        self._stop: asyncio.Event | None = None
        file = DEMO / "fake_cloud_server.py"
        spec = importlib.util.spec_from_file_location("homematicip_fake_cloud", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.cloud = module.AsyncFakeCloudServer(**({"home_path": home} if home else {}))
        self.port = 0
        #: The path of every request.
        self.requests: list[str] = []
        self.instead: Instead = lambda path: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        return {"accessPoint": ACCESS_POINT, "lookupUrl": f"{self.url}/getHost"}

    def asked(self, path: str) -> int:
        return self.requests.count(path)

    def press_button(self) -> None:
        """Do what the owner does when the access point waits for it."""
        asyncio.run_coroutine_threadsafe(
            self.cloud.post_hmip_auth_simulateBlueButton(None), self._loop
        ).result(START_SECONDS)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(START_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        from aiohttp import web

        async def answer(request: Any) -> Any:
            self.requests.append(request.path)
            found = self.instead(request.path)
            if found is not None:
                status, body, headers = found
                return web.json_response(body, status=status, headers=dict(headers))
            return await self.cloud(request)

        self._stop = asyncio.Event()
        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self.cloud.url = self.url
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()
