"""The sales reports of App Store Connect: verifies the token and every filter.

Answers are worded as Apple words them, and a report says `Content-Encoding: agzip` as Apple's do.
"""

import gzip
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pollect.testing import HttpRequest, HttpResponse, HttpServer

KEY_ID, ISSUER, VENDOR = "2X9R4HXF34", "57246542-96fe-1a63-e053-0824d011072a", "81234567"
MAX_TOKEN_SECONDS = 20 * 60
HEADER = (
    "Provider\tProvider Country\tSKU\tDeveloper\tTitle\tVersion\tProduct Type Identifier\tUnits\t"
    "Developer Proceeds\tBegin Date\tEnd Date\tCustomer Currency\tCountry Code\t"
    "Currency of Proceeds\tApple Identifier\tCustomer Price\tPromo Code\tParent Identifier\t"
    "Subscription\tPeriod\tCategory\tCMB\tDevice\tSupported Platforms\tProceeds Reason\t"
    "Preserved Pricing\tClient\tOrder Type"
)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def write_key_file(file: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    """Write a key as Apple gives it."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.touch(mode=0o600)
    file.write_bytes(pem)
    return file


def row(
    sku: str,
    kind: str,
    units: object,
    proceeds: object = 0,
    currency: str = " ",
    country: str = "DE",
    parent: str = " ",
    day: date = date(2026, 11, 21),
) -> str:
    begin = f"{day:%m/%d/%Y}"
    return (
        f'APPLE\tUS\t{sku}\tSome One\tSome "App"\t1.0\t{kind}\t{units}\t{proceeds}\t'
        f"{begin}\t{begin}\t"
        f"EUR\t{country}\t{currency}\t1234567890\t0\t \t{parent}\t \t \tGames\t \t"
        "iPhone\tiOS\t \t \t \t "
    )


def table(*rows: str) -> bytes:
    return "\n".join([HEADER, *rows, ""]).encode()


class AppStoreConnect(HttpServer):
    """The service, for one vendor."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(self._answer)
        self._now = now
        #: Key id -> public key; a test takes away and adds.
        self.keys: dict[str, Any] = {}
        #: Day -> report, or the answer; a day that is missing is not there yet.
        self.days: dict[date, Any] = {}
        #: The only version that is taken, "" for all.
        self.version = ""
        #: Take what the library of 1.x sends: tokens that do not say when they were made, and a
        #: request for any kind of answer.
        self.takes_library_of_1x = False
        #: When set, the answer to everything.
        self.instead: Any = None

    def asked(self) -> list[str]:
        """Return the days that were asked for, in order."""
        return [request.query["filter[reportDate]"] for request in self.requests]

    def _answer(self, request: HttpRequest) -> Any:
        if self.instead is not None:
            return self.instead
        if request.path != "/v1/salesReports":
            return error(404, "The specified resource does not exist")
        if not self._is_signed(request):
            return error(401, "Provide a properly configured and signed bearer token")
        query = request.query
        version = query.pop("filter[version]", None)
        wanted = {
            "filter[frequency]": "DAILY",
            "filter[reportType]": "SALES",
            "filter[reportSubType]": "SUMMARY",
            "filter[vendorNumber]": VENDOR,
        }
        day = query.pop("filter[reportDate]", "")
        if query != wanted:
            return error(400, f"expected {wanted}, got {query}", "filter[reportType]")
        if self.version and version != self.version:
            detail = (
                "The version parameter you have specified is invalid. The latest version for "
                f"this report is {self.version}."
            )
            return error(400, detail, "filter[version]")
        accepted = request.headers["Accept"]
        if accepted != "application/a-gzip" and not self.takes_library_of_1x:
            return error(406, "The requested media type is not acceptable")
        return self._report_of(date.fromisoformat(day))

    def _report_of(self, day: date) -> Any:
        found = self.days.get(day, NOT_YET)
        if not isinstance(found, bytes):
            return found
        headers = {"Content-Type": "application/a-gzip", "Content-Encoding": "agzip"}
        return HttpResponse(gzip.compress(found), headers=headers)

    def _is_signed(self, request: HttpRequest) -> bool:
        required = ["exp"] if self.takes_library_of_1x else ["exp", "iat"]
        kind, _, token = (request.headers["Authorization"] or "").partition(" ")
        try:
            head = jwt.get_unverified_header(token)
            claims = jwt.decode(
                token,
                self.keys[head["kid"]],
                algorithms=["ES256"],
                audience="appstoreconnect-v1",
                issuer=ISSUER,
                options={"verify_exp": False, "verify_iat": False, "require": required},
            )
            issued = claims.get("iat", claims["exp"] - MAX_TOKEN_SECONDS)
        except (jwt.PyJWTError, KeyError):
            return False
        lifetime = claims["exp"] - issued
        is_now = issued - 60 <= self._now() < claims["exp"]
        right_type = kind == "Bearer" and head.get("typ") == "JWT"
        return right_type and 0 < lifetime <= MAX_TOKEN_SECONDS and is_now


def error(status: int, detail: str, parameter: str = "") -> HttpResponse:
    facts: dict[str, Any] = {"status": str(status), "code": "X", "title": "x", "detail": detail}
    if parameter:
        facts["source"] = {"parameter": parameter}
    return HttpResponse({"errors": [facts]}, status)


NOT_YET = error(
    404,
    "Report is not available yet. Daily reports for the Americas are available by 5 am Pacific "
    "Time; Japan, Australia, and New Zealand by 5 am Japan Standard Time; and 5 am Central "
    "European Time for all other territories.",
)
NO_SALES = error(404, "There were no sales for the date specified.")
GONE = error(
    410,
    "The report you requested is no longer available. Daily reports are available for 365 days.",
)
