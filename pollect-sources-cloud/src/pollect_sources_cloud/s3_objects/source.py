"""Source `S3Objects`: number, size and age of the objects in a bucket: is my backup fresh?

Any store that speaks S3: AWS, MinIO, Ceph, Garage, Wasabi, Backblaze B2, Cloudflare R2, Hetzner,
Google Cloud Storage with HMAC keys. A probe lists what is below each prefix (ListObjectsV2), one
request per 1000 objects, and gets no object. Needs no third-party library.
"""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from pollect.api import (
    DETAIL,
    Alert,
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    Headline,
    Metric,
    ProbeError,
    Sample,
    Seconds,
    Secret,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.http import HttpClient, Response
from pollect.support.quota import shared_budget
from pollect_sources_cloud.endpoints import check_endpoint
from pollect_sources_cloud.failures import failure
from pollect_sources_cloud.limits import CONNECT_SECONDS, Limit
from pollect_sources_cloud.s3_objects.listing import Tally, fits, parse_error, parse_page
from pollect_sources_cloud.s3_objects.signature import (
    Credentials,
    encode_path,
    encode_query,
    sign_get,
)

ANSWER_SECONDS = 30.0

_LABELS = ("bucket", "prefix")
OBJECTS = Metric(
    "objects", help="Objects below the prefix.", labels=_LABELS, headline=Headline("objects")
)
SIZE = Metric(
    "size_bytes",
    help="Size of all of them together.",
    unit="bytes",
    labels=_LABELS,
    headline=Headline("size"),
)
AGE = Metric(
    "newest_age_seconds",
    help="Time since the newest of them was written, as of the probe.",
    unit="seconds",
    labels=_LABELS,
    headline=Headline("newest"),
    alert=Alert("BackupOld", "no backup was written for a day and a half", above=36 * 3600),
)
NEWEST = Metric(
    "newest_timestamp_seconds",
    help="Unix time at which the newest of them was written.",
    unit="seconds",
    labels=_LABELS,
)
NEWEST_SIZE = Metric(
    "newest_size_bytes",
    help="Size of the newest of them.",
    unit="bytes",
    labels=_LABELS,
    panel=DETAIL,
)
OLDEST = Metric(
    "oldest_age_seconds",
    help="Time since the oldest of them was written, as of the probe.",
    unit="seconds",
    labels=_LABELS,
    panel=DETAIL,
)


class S3ObjectsConfig(SourceConfig, frozen=True, kw_only=True):
    bucket: Annotated[str, Meta(pattern="^[^/?#\\s]+$", description="Name of the bucket.")]
    prefixes: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="Beginnings of keys, as in backup/daily/; each is counted by itself. "
            "Default: the whole bucket.",
        ),
    ] = ("",)
    match: Annotated[
        str | None,
        Meta(description="Shell pattern for the keys, or their last parts, as in *.tar.gz."),
    ] = None
    endpoint: Annotated[
        str | None, Meta(description="Base URL of the store; default: AWS in the region.")
    ] = None
    region: Annotated[
        str, Meta(pattern="^[A-Za-z0-9-]+$", description="Region, which is part of the signature.")
    ] = "us-east-1"
    access_key: Annotated[
        str | None, Meta(description="Access key ID; left out for a public bucket.")
    ] = None
    secret_key: Annotated[Secret | None, Meta(description="Secret of the access key.")] = None
    session_token: Annotated[
        Secret | None, Meta(description="Session token of a temporary access key.")
    ] = None
    path_style: Annotated[
        bool | None,
        Meta(
            description="Put the bucket into the path and not into the host name; default: yes "
            "with an endpoint of your own, no at AWS."
        ),
    ] = None
    max_objects: Annotated[
        int, Meta(ge=1, description="More objects than this below a prefix are a failure.")
    ] = 100_000
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for one answer.")] = (
        ANSWER_SECONDS
    )


class S3ObjectsSource(Source[S3ObjectsConfig]):
    """Number, size and age of the objects below some prefixes of a bucket."""

    config_type = S3ObjectsConfig
    metrics = (OBJECTS, SIZE, AGE, NEWEST, NEWEST_SIZE, OLDEST)

    def __init__(self, config: S3ObjectsConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        if (config.access_key is None) != (config.secret_key is None):
            missing = "accessKey" if config.access_key is None else "secretKey"
            raise ConfigError("expected accessKey and secretKey, or none of them", key=missing)
        self._credentials = None
        if config.access_key is not None and config.secret_key is not None:
            self._credentials = Credentials(
                config.access_key, config.secret_key, config.session_token
            )
        self._url = self._find_url()
        self._limit = Limit(f"bucket {config.bucket}", config.timeout or ANSWER_SECONDS)
        owner = f"{self._url} {config.access_key}"
        self._budget = shared_budget(context, "s3", owner)
        self._http: HttpClient | None = None

    def open(self) -> None:
        self.close()
        self._http = HttpClient(timeout=self._limit.answer_seconds, connect_timeout=CONNECT_SECONDS)

    def probe(self) -> list[Sample]:
        if self._http is None:
            raise ProbeError("not open")
        self._limit.begin_probe()
        samples: list[Sample] = []
        errors: list[ProbeError] = []
        prefixes = list(dict.fromkeys(self.config.prefixes))
        for prefix in prefixes:
            part = prefix or "the whole bucket"
            try:
                samples += self._samples(self._count(self._http, prefix), prefix)
            except TargetUnavailable:
                raise  # of the store, whatever the prefix
            except ProbeError as error:
                errors.append(error)
                self.troubles.failed(part, error, type(error).__name__)
            else:
                self.troubles.works(part)
        if len(errors) == len(prefixes):
            raise errors[0]
        return samples

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
        self._http = None

    def deadline_seconds(self) -> float:
        return self._limit.deadline_seconds(self.context.interval)

    def _find_url(self) -> str:
        """Return the URL of the bucket."""
        config = self.config
        base = check_endpoint(
            config.endpoint or f"https://s3.{config.region}.amazonaws.com", key="endpoint"
        )
        in_path = config.path_style if config.path_style is not None else bool(config.endpoint)
        if in_path:
            return f"{base}/{encode_path(config.bucket)}"
        parts = urlsplit(base)
        return parts._replace(netloc=f"{config.bucket}.{parts.netloc}", path="/").geturl()

    def _count(self, http: HttpClient, prefix: str) -> Tally:
        tally = Tally()
        query = {"list-type": "2", "encoding-type": "url", "max-keys": "1000", "prefix": prefix}
        while True:
            page = parse_page(self._get(http, query))
            for key, size, modified in page.objects:
                if fits(key, self.config.match):
                    tally.add(size, modified)
            if tally.objects > self.config.max_objects:
                raise BadResponse(
                    f"more than {self.config.max_objects} objects: name a longer prefix, "
                    "or raise maxObjects"
                )
            if page.token is None:
                return tally
            if query.get("continuation-token") == page.token:
                raise BadResponse("the listing repeats itself")
            query["continuation-token"] = page.token

    def _get(self, http: HttpClient, query: dict[str, str]) -> bytes:
        url = f"{self._url}?{encode_query(query)}"
        headers = {}
        if self._credentials is not None:
            headers = sign_get(
                url,
                self._credentials,
                region=self.config.region,
                now=self.context.clock.time(),
            )
        self._budget.spend()
        answer = http.get(
            url,
            headers=headers,
            timeout=self._limit.left(),
            statuses=None,
            follow_redirects=False,
        )
        if answer.status == 200:
            self._budget.answered()
            return answer.body
        raise self._failure(answer)

    def _failure(self, answer: Response) -> ProbeError:
        code, region = parse_error(answer.body)
        bucket = self.config.bucket
        region = answer.headers.get("x-amz-bucket-region", region)
        if region and region != self.config.region:
            return BadResponse(f"bucket {bucket} is in the region {region}: set region to that")
        if answer.status in (401, 403) or code == "InvalidAccessKeyId":
            return AuthenticationFailed(
                f"bucket {bucket}: refused with status {answer.status} {code}".rstrip()
                + ": the key needs the permission s3:ListBucket"
            )
        if code == "NoSuchBucket":
            return BadResponse(f"there is no bucket {bucket}")
        return failure(answer, code, self._budget, where=f"bucket {bucket}")

    def _samples(self, tally: Tally, prefix: str) -> Iterator[Sample]:
        labels = (self.config.bucket, prefix)
        now = self.context.clock.time()
        yield OBJECTS.sample(tally.objects, *labels)
        yield SIZE.sample(tally.size_bytes, *labels)
        if tally.newest is None or tally.oldest is None:
            return
        modified, size = tally.newest
        yield AGE.sample(max(0.0, now - modified), *labels)
        yield NEWEST.sample(modified, *labels)
        if self.config.details:
            yield NEWEST_SIZE.sample(size, *labels)
            yield OLDEST.sample(max(0.0, now - tally.oldest), *labels)
