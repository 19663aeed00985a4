"""What an unsuccessful answer means for the probe."""

from pollect.api import BadResponse, ProbeError
from pollect.support.http import Response
from pollect.support.quota import Budget, retry_after
from pollect.support.urls import redact_url


def failure(answer: Response, message: str, budget: Budget, *, where: str = "") -> ProbeError:
    """Return the error for an unsuccessful status; `message` is the service's own text.

    `where` names what was asked for, by default by its URL.

    After a 429, or a 503 that names a time, no source of the account calls before that time.
    """
    pause = retry_after(answer.headers, budget.clock)
    if answer.status == 429 or (answer.status == 503 and pause is not None):
        error = budget.refused(wait_seconds=pause)
        error.retry_in = pause
        return error
    text = f"{where or redact_url(answer.url)}: expected success, got status {answer.status}"
    return BadResponse(f"{text}: {message}" if message else text)
