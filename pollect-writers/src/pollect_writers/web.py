"""Writer `Web`: the page in the browser, for those who send their values elsewhere.

Shows the sources that it is named for: at the top of a config, those of every executor without
writers of its own. `/status.json` says the same to programs.
"""

from collections.abc import Sequence
from http import HTTPStatus

from pollect.api import Batch
from pollect.support.http_server import Request, Response
from pollect_writers.prometheus.config import EndpointConfig
from pollect_writers.prometheus.endpoint import Endpoint


class WebConfig(EndpointConfig, frozen=True, kw_only=True):
    """The options of `Web`, all of which `Prometheus` has too."""


class WebWriter(Endpoint[WebConfig]):
    """A page with values, curves and what is wrong."""

    config_type = WebConfig
    self_metrics = False

    def write(self, batches: Sequence[Batch]) -> None:
        """Keep nothing: what the page shows is remembered once for all writers."""

    def _other(self, request: Request) -> Response:
        if request.path == "/":
            page = self._page.answer(request, any_client=True) if self._page is not None else None
            if page is not None:
                return page
        return Response(b"the page is at /\n", status=HTTPStatus.NOT_FOUND)
