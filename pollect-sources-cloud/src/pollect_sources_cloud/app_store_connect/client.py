"""A small client of the App Store Connect API: one request for the sales report of a day.

Facts: "Download Sales and Trends Reports" and "Generating Tokens for API Requests" of Apple's
documentation. The signed token is the whole sign-in; nothing else is sent anywhere.
"""

import enum
import re
from datetime import date
from typing import Any

from pollect.api import AuthenticationFailed, BadResponse, Clock, ProbeError
from pollect.support.http import HttpClient, Response
from pollect.support.quota import Budget
from pollect_sources_cloud.failures import failure
from pollect_sources_cloud.files import KeyFile
from pollect_sources_cloud.limits import Limit
from pollect_sources_cloud.signing import Signer

AUDIENCE = "appstoreconnect-v1"
#: Apple takes 20 minutes at most.
TOKEN_SECONDS = 19 * 60
#: A token is used so long.
KEPT_SECONDS = 15 * 60.0
VERSION_FILTER = "filter[version]"


class NoReport(enum.Enum):
    """Why there is no report of a day."""

    #: Nothing was sold: there never will be one.
    NO_SALES = "no sales"
    NOT_YET = "not yet"
    #: Too old: Apple keeps a year of them.
    GONE = "gone"


class SalesReports:
    """The daily sales reports of one vendor."""

    def __init__(
        self,
        endpoint: str,
        *,
        key_id: str,
        issuer_id: str,
        vendor: str,
        key_file: KeyFile,
        signer: Signer,
        http: HttpClient,
        limit: Limit,
        clock: Clock,
        budget: Budget,
    ) -> None:
        self._url = f"{endpoint}/v1/salesReports"
        self._key_id = key_id
        self._issuer_id = issuer_id
        self._vendor = vendor
        self._key_file = key_file
        self._signer = signer
        self._http = http
        self._limit = limit
        self._clock = clock
        self._budget = budget
        self._token = ""
        self._token_until = 0.0
        #: What Apple asked for; none is named before.
        self._version = ""

    def fetch(self, day: date) -> bytes | NoReport:
        """Return the report of `day` as it was sent, or why there is none.

        Raises `AuthenticationFailed`, `TargetUnavailable` or `BadResponse`.
        """
        answer = self._get(day)
        if answer.status == 401:
            self._token = ""
            answer = self._get(day)
        if answer.status == 400 and (version := _wanted_version(answer)):
            if version == self._version:
                raise BadResponse(f"{self._url}: version {version} was requested and refused")
            self._version = version
            answer = self._get(day)
        detail = " ".join(error["detail"] for error in _errors(answer))
        match answer.status:
            case 200:
                self._budget.answered()
                return answer.body
            case 404 if "no sales for the date" in detail.lower():
                return NoReport.NO_SALES
            case 404 if "not available yet" in detail.lower():
                return NoReport.NOT_YET
            case 410:
                return NoReport.GONE
            case 401:
                self._token = ""
                raise AuthenticationFailed(
                    f"{self._url}: the token is refused: do keyId {self._key_id!r}, issuerId and "
                    f"{self._key_file.path} belong to one active team key? {detail[:200]}".strip()
                )
            case 403:
                raise AuthenticationFailed(
                    f"{self._url}: key {self._key_id!r} may not read sales reports of vendor "
                    f"{self._vendor!r}: it needs the role Sales, Finance or Admin. "
                    f"{detail[:200]}".strip()
                )
        raise failure(answer, detail[:200], self._budget)

    def _get(self, day: date) -> Response:
        query = {
            "filter[frequency]": "DAILY",
            "filter[reportType]": "SALES",
            "filter[reportSubType]": "SUMMARY",
            "filter[vendorNumber]": self._vendor,
            "filter[reportDate]": day.isoformat(),
        }
        if self._version:
            query[VERSION_FILTER] = self._version
        token = self._valid_token()
        self._budget.spend()
        return self._http.get(
            self._url,
            params=query,
            headers={
                "Authorization": f"Bearer {token}",
                "Accept": "application/a-gzip",
            },
            timeout=self._limit.left(),
            statuses=None,
            follow_redirects=False,
        )

    def _valid_token(self) -> str:
        now = self._clock.time()
        if not self._token or not self._token_until - KEPT_SECONDS <= now < self._token_until:
            claims = {
                "iss": self._issuer_id,
                "iat": int(now),
                "exp": int(now) + TOKEN_SECONDS,
                "aud": AUDIENCE,
            }
            key = self._key_file.read()
            self._token = self._signer.sign(claims, key, self._key_id, where=self._key_file.path)
            self._token_until = now + KEPT_SECONDS
        return self._token


def _wanted_version(answer: Response) -> str:
    """Return the version of the report that an error names, empty if it is about other things."""
    for error in _errors(answer):
        if error["parameter"] == VERSION_FILTER:
            found = re.findall(r"\b\d+_\d+\b", error["detail"])
            return found[-1] if found else ""
    return ""


def _errors(answer: Response) -> list[dict[str, str]]:
    """Return detail and parameter of every error in an answer."""
    try:
        data: Any = answer.json() if answer.status >= 400 else {}
    except ProbeError:
        return []
    errors = data.get("errors") if isinstance(data, dict) else None
    found = []
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, dict):
            source = error.get("source")
            parameter = source.get("parameter") if isinstance(source, dict) else ""
            found.append({"detail": str(error.get("detail", "")), "parameter": str(parameter)})
    return found
