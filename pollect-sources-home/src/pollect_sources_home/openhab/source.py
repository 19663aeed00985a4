"""Source `Openhab`: the state of the items of an openHAB server.

One request of `/rest/items` per probe, for the few fields that matter: without `fields` the server
sends all metadata of all items.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from msgspec import Meta

from pollect.api import (
    BadResponse,
    ConfigError,
    Name,
    NoData,
    Sample,
    Seconds,
    Secret,
    Source,
    SourceConfig,
    SourceContext,
)
from pollect.support.http import HttpClient
from pollect.support.urls import check_base_url, redact_url
from pollect_sources_home.openhab.items import BASIC_TYPES, parse_items
from pollect_sources_home.web import (
    DEFAULT_TIMEOUT_SECONDS,
    deadline_seconds,
    hint_on_refusal,
)

FIELDS = "name,label,type,groupType,state,groupNames"
#: Thousands of items have some 200 bytes each.
MAX_BODY_BYTES = 32 * 1024 * 1024

ItemType = Literal[
    "Number",
    "Switch",
    "Contact",
    "Dimmer",
    "Rollershutter",
    "Color",
    "Player",
    "Group",
    "DateTime",
]


class OpenhabConfig(SourceConfig, frozen=True, kw_only=True):
    url: Annotated[str, Meta(description="The server, as in http://openhab.local:8080.")]
    token: Annotated[
        Secret | None,
        Meta(
            description="API token of a user, where the server shows nothing to strangers "
            "(`oh.name.letters`)."
        ),
    ] = None
    user: Annotated[
        str, Meta(description="User, where basic authentication is switched on; or a token.")
    ] = ""
    password: Annotated[Secret, Meta(description="Password of the user.")] = Secret("")
    groups: Annotated[
        tuple[Name, ...] | None,
        Meta(description="Report only the direct members of these groups, by their item names."),
    ] = None
    types: Annotated[
        tuple[ItemType, ...],
        Meta(
            description="Further types of items to report; a `Group` counts by the type of its "
            "members."
        ),
    ] = ("Number", "Switch")
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for the answer.")] = (
        DEFAULT_TIMEOUT_SECONDS
    )
    verify: Annotated[bool, Meta(description="Verify the certificate of an https `url`.")] = True


class OpenhabSource(Source[OpenhabConfig]):
    """State of every numeric and switch item; one HTTP request per probe."""

    config_type = OpenhabConfig
    target_option = "url"
    target_prefix = "http://"
    dynamic_metrics = True

    def __init__(self, config: OpenhabConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        base = check_base_url(config.url)
        query = urlencode({"recursive": "false", "fields": FIELDS}, safe=",")
        self._url = f"{base}/rest/items?{query}"
        self._where = redact_url(f"{base}/rest/items")
        if config.token and config.user:
            raise ConfigError("expected either `token` or `user`, got both", key="token")
        if config.password and not config.user:
            raise ConfigError("expected a user beside the password", key="user")
        self._types = frozenset((*BASIC_TYPES, *config.types))
        self._timeout_seconds = config.timeout or DEFAULT_TIMEOUT_SECONDS
        self._client: HttpClient | None = None

    def open(self) -> None:
        self.close()
        # Tokens are pasted out of a web page, with the line's end.
        token = self.config.token.reveal().strip() if self.config.token else ""
        self._client = HttpClient(
            timeout=self._timeout_seconds,
            token=Secret(token) if token else None,
            user=self.config.user,
            password=self.config.password,
            verify=self.config.verify,
            max_body_bytes=MAX_BODY_BYTES,
        )

    def probe(self) -> Iterable[Sample]:
        if self._client is None:
            raise BadResponse("not open")
        with hint_on_refusal("set `token` to one of a user who may see the items"):
            items = self._client.get_json(self._url)
        if not isinstance(items, list):
            raise BadResponse(f"{self._where}: expected a list of items, got {_complaint(items)}")
        problems: list[str] = []
        samples = list(parse_items(items, self._types, self.config.groups, problems))
        self.troubles.note("items", problems)
        if not samples:
            raise NoData(f"{self._where}: none of {len(items)} items has a value to report")
        return samples

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def deadline_seconds(self) -> float:
        return deadline_seconds(self.context, self._timeout_seconds)


def _complaint(answer: Any) -> str:
    """Return what an answer that is not a list says, in short."""
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return repr(message or answer)[:200]
