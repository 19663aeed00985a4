"""What an answer that is no success means for the probe."""

from pollect.api import BadResponse
from pollect.support.http import Response
from pollect.support.urls import redact_url
from pollect_sources_cloud.limits import pause_asked_for


def refused_for_now(answer: Response, message: str, now: float) -> BadResponse:
    """Return the error for a status that is no success, with the pause that the service asks for.

    `now` is Unix time in seconds.
    """
    text = f"{redact_url(answer.url)}: expected success, got status {answer.status}"
    pause = pause_asked_for(answer.headers, now)
    if message:
        text += f": {message}"
    if pause is not None:
        text += f"; to be asked again in {pause:.0f} s"
    return BadResponse(text)
