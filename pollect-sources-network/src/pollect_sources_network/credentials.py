"""User names and passwords as the sections of several sources have them."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pollect.api import Secret


class BasicAuth(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """User name and password for HTTP basic authentication."""

    username: Annotated[str, Meta(description="User name.")]
    password: Annotated[Secret, Meta(description="Password.")] = Secret("")
