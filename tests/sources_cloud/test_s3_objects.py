"""S3Objects against the server of moto, with botocore as second opinion on the signature."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ProbeError,
    Secret,
    TargetUnavailable,
)
from pollect.engine.clock import SystemClock
from pollect.testing import (
    FakeClock,
    HttpResponse,
    Running,
    build_source,
    format_samples,
    serve_http,
)
from pollect_sources_cloud.s3_objects.listing import fits, parse_page
from pollect_sources_cloud.s3_objects.signature import Credentials, encode_query, sign_get
from pollect_sources_cloud.s3_objects.source import S3ObjectsSource
from tests.simulators.moto import REGION, Store, moto_store
from tests.sources_network.driver import series_of

BUCKET = "backups"
OBJECTS = {
    "daily/one.tar.gz": b"1" * 10,
    "daily/two.tar.gz": b"2" * 20,
    "daily/note.txt": b"x",
    "weekly/": b"",
    "weekly/big.tar": b"3" * 300,
    "odd + name/ä&=?%2F 1.tar.gz": b"odd",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with moto_store(tmp_path_factory.mktemp("moto")) as store:
        store.make_bucket(BUCKET, OBJECTS)
        store.make_bucket("empty", {})
        store.demand_signatures()
        yield store


@pytest.fixture
def probe(store: Store, tmp_path: Path) -> Callable[..., dict[str, float]]:
    def read(**options: Any) -> dict[str, float]:
        section = {
            "bucket": BUCKET,
            "endpoint": store.url,
            "region": REGION,
            "accessKey": store.access_key,
            "secretKey": store.secret_key,
            **options,
        }
        section = {name: value for name, value in section.items() if value is not None}
        source = build_source(
            section,
            S3ObjectsSource,
            clock=SystemClock(),
            state_dir=tmp_path,
        )
        with Running(source) as running:
            return series_of(running.probe())

    return read


def test_objects_size_and_age_per_prefix_by_signed_requests(probe) -> None:
    series: dict[str, float] = probe(
        prefixes=["daily/", "weekly/", "odd + name/", "none/"], details=True
    )

    def of(name: str, prefix: str) -> float | None:
        return series.get(f'{name}{{bucket="{BUCKET}",prefix="{prefix}"}}')

    assert (of("objects", "daily/"), of("size_bytes", "daily/")) == (3, 31)
    assert (of("objects", "weekly/"), of("newest_size_bytes", "weekly/")) == (1, 300)
    assert (of("objects", "odd + name/"), of("size_bytes", "odd + name/")) == (1, 3)
    assert (of("objects", "none/"), of("size_bytes", "none/")) == (0, 0)
    assert of("newest_age_seconds", "none/") is None
    age = of("newest_age_seconds", "daily/")
    assert age is not None
    assert 0 <= age < 120
    assert (of("oldest_age_seconds", "daily/") or 0) >= age


def test_whole_bucket_and_a_pattern(probe) -> None:
    assert probe()[f'objects{{bucket="{BUCKET}",prefix=""}}'] == 5
    assert probe(match="*.tar.gz")[f'objects{{bucket="{BUCKET}",prefix=""}}'] == 3
    assert probe(bucket="empty")['objects{bucket="empty",prefix=""}'] == 0


@pytest.mark.parametrize(
    "options",
    [{"secretKey": "hush-wrong"}, {"accessKey": "AKIAWRONG"}],
)
def test_wrong_key_is_refused_and_never_shown(probe, options) -> None:
    with pytest.raises(AuthenticationFailed, match="s3:ListBucket") as caught:
        probe(**options)
    assert "hush" not in str(caught.value)


def test_bucket_that_does_not_exist_is_named(probe) -> None:
    with pytest.raises(ProbeError, match="no-such-bucket"):
        probe(bucket="no-such-bucket")


def page(*keys: str, token: str = "", stamp: str = "2023-11-14T22:13:20.000Z") -> str:
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>{stamp}</LastModified><Size>7</Size></Contents>"
        for key in keys
    )
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{str(bool(token)).lower()}</IsTruncated>{more}{contents}"
        "<EncodingType>url</EncodingType></ListBucketResult>"
    )


def of_server(server: Any, folder: Path, **options: Any) -> S3ObjectsSource:
    section = {"bucket": "b", "endpoint": server.url, "timeout": 10, **options}
    source = build_source(section, S3ObjectsSource, clock=FakeClock(), state_dir=folder)
    assert isinstance(source, S3ObjectsSource)
    return source


def test_every_page_is_read(tmp_path, golden) -> None:
    def answer(request: Any) -> Any:
        assert request.query["list-type"] == "2"
        token = request.query.get("continuation-token", "0")
        keys = [f"k{token}-{number}" for number in range(1000)]
        following = str(int(token) + 1) if token != "2" else ""
        return page(*keys, token=following)

    with serve_http(answer) as server:
        source = of_server(server, tmp_path, prefixes=["k"], details=True)
        with Running(source) as running:
            golden("s3_objects.txt", format_samples(source, running.probe()))
        limited = of_server(server, tmp_path, maxObjects=1500)
        with Running(limited) as running, pytest.raises(BadResponse, match="raise maxObjects"):
            running.probe()
        assert "Authorization" not in server.requests[0].headers


def xml_error(code: str, region: str = "") -> str:
    return f"<Error><Code>{code}</Code><Region>{region}</Region></Error>"


ANSWERS = {
    "page": (HttpResponse("<html>"), "expected XML"),
    "other XML": (HttpResponse("<html></html>"), "expected a listing of a bucket"),
    "bomb": (HttpResponse('<!DOCTYPE x [<!ENTITY a "a">]><ListBucketResult/>'), "document type"),
    "no end": (HttpResponse(page("a", token="t")), "repeats itself"),
    "no token": (
        HttpResponse(page("a").replace("false", "true")),
        "names no next page",
    ),
    "no size": (HttpResponse(page("a").replace("7", "x")), "expected size and time"),
    "no time": (HttpResponse(page("a", stamp="now")), "expected size and time"),
    "region": (
        HttpResponse(
            "<Error><Code>PermanentRedirect</Code></Error>",
            301,
            {"x-amz-bucket-region": "eu-west-3"},
        ),
        "in the region eu-west-3",
    ),
    "region in the error": (
        HttpResponse(
            "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>",
            400,
        ),
        "in the region eu-west-3",
    ),
    "server": (
        HttpResponse(xml_error("InternalError"), 500),
        "500: InternalError",
    ),
    "bucket": (HttpResponse(xml_error("NoSuchBucket"), 404), "no bucket b"),
}


@pytest.mark.parametrize(("answer", "complaint"), ANSWERS.values(), ids=ANSWERS)
def test_what_is_no_listing_is_a_failure(tmp_path, answer, complaint) -> None:
    with serve_http({"*": answer}) as server:
        source = of_server(server, tmp_path)
        with Running(source) as running, pytest.raises(BadResponse, match=complaint):
            running.probe()


def test_store_that_is_asked_too_often_is_left_alone(tmp_path) -> None:
    slow = HttpResponse(xml_error("SlowDown"), 503, {"Retry-After": "60"})
    with serve_http({"*": slow}) as server:
        for _ in range(2):
            source = of_server(server, tmp_path)
            with Running(source) as running, pytest.raises(TargetUnavailable):
                running.probe()
        assert len(server.requests) == 1


def test_one_prefix_that_fails_costs_the_others_nothing(tmp_path) -> None:
    def answer(request: Any) -> Any:
        return HttpResponse("", 500) if request.query["prefix"] == "bad/" else page("a")

    with serve_http(answer) as server:
        source = of_server(server, tmp_path, prefixes=["bad/", "good/"])
        with Running(source) as running:
            series = series_of(running.probe())
            assert series['objects{bucket="b",prefix="good/"}'] == 1
            assert "bad/: bucket b: expected success, got status 500" in str(source.troubles)


def test_a_prefix_that_the_key_may_not_list_costs_the_others_nothing(tmp_path) -> None:
    """A policy may allow s3:ListBucket for some prefixes only."""

    def answer(request: Any) -> Any:
        denied = HttpResponse(xml_error("AccessDenied"), 403)
        return denied if request.query["prefix"] == "hidden/" else page("a")

    with serve_http(answer) as server:
        source = of_server(server, tmp_path, prefixes=["hidden/", "open/"])
        with Running(source) as running:
            assert series_of(running.probe())['objects{bucket="b",prefix="open/"}'] == 1
            assert "hidden/: bucket b: refused with status 403 AccessDenied" in str(source.troubles)
        only = of_server(server, tmp_path, prefixes=["hidden/"])
        with Running(only) as running, pytest.raises(AuthenticationFailed):
            running.probe()


def test_an_object_that_cannot_be_read_is_named(tmp_path) -> None:
    listing = (
        "<ListBucketResult><Contents><Key>a/b.gz</Key><Size>big</Size>"
        "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>"
    )
    with pytest.raises(BadResponse, match=r"object 'a/b\.gz': expected size and time, got 'big'"):
        parse_page(listing.encode())


@pytest.mark.parametrize("token", [None, "hush/token=="])
@pytest.mark.parametrize(
    "base",
    [
        "https://s3.eu-central-1.amazonaws.com/b",
        "http://127.0.0.1:9000/b",
        "https://b.s3.amazonaws.com/",
    ],
)
def test_signature_is_the_one_of_botocore(base: str, token: str | None) -> None:
    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as BotoCredentials

    credentials = BotoCredentials("AK", "SK", token)
    url = f"{base}?{encode_query({'list-type': '2', 'prefix': 'a b+c/ä~%&=', 'x': ''})}"
    request = AWSRequest("GET", url)
    request.context["payload_signing_enabled"] = True
    auth.S3SigV4Auth(credentials, "s3", REGION).add_auth(request)
    stamp = datetime.strptime(f"{request.headers['X-Amz-Date']}+0000", "%Y%m%dT%H%M%SZ%z")
    ours = sign_get(
        url,
        Credentials("AK", Secret("SK"), Secret(token) if token else None),
        region=REGION,
        now=stamp.timestamp(),
    )
    assert ours["Authorization"] == request.headers["Authorization"]


def test_bucket_stands_in_the_host_at_aws_and_in_the_path_elsewhere(tmp_path) -> None:
    def url_of(**options: Any) -> str:
        source = build_source({"bucket": "b", **options}, S3ObjectsSource, state_dir=tmp_path)
        return source._url  # type: ignore[attr-defined,no-any-return]

    assert url_of(region="eu-west-1") == "https://b.s3.eu-west-1.amazonaws.com/"
    assert url_of(endpoint="https://minio.example.org") == "https://minio.example.org/b"
    assert url_of(pathStyle=True) == "https://s3.us-east-1.amazonaws.com/b"
    hosted = url_of(endpoint="https://example.org:9000", pathStyle=False)
    assert hosted == "https://b.example.org:9000/"


def test_keys_of_pages_are_decoded_and_folders_left_out() -> None:
    keys = [key for key, _, _ in parse_page(page("a+b%2Fc%C3%A4", "d%2F").encode()).objects]
    assert keys == ["a b/cä", "d/"]
    assert not fits("d/", None)
    assert fits("a/b/c.gz", "*.gz")
    assert fits("a/b/c.gz", "c.*")
    assert not fits("a/b/c.gz", "b*")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"accessKey": "a"}, "secretKey: expected accessKey and secretKey"),
        ({"bucket": "a/b"}, "bucket"),
        ({"prefixes": []}, "prefixes: expected at least 1 in the list, got 0"),
        ({"endpoint": "http://minio.example.org"}, "endpoint: expected https"),
    ],
)
def test_mistakes_are_found_before_anything_runs(options, complaint) -> None:
    with pytest.raises(ConfigError, match=complaint):
        build_source({"bucket": "b", **options}, S3ObjectsSource)
