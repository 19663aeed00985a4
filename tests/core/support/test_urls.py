"""URLs are checked, redacted and made labels in one place."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pollect.api import ConfigError
from pollect.support.urls import check_base_url, check_url, redact_url, url_label


@pytest.mark.parametrize(
    "url", ["", "host", "ftp://host/", "http://", "http://h:port/", "http://a b/"]
)
def test_incomplete_urls_are_config_errors(url: str) -> None:
    with pytest.raises(ConfigError, match="expected a URL like http") as caught:
        check_url(url, key="urls[1]")
    assert caught.value.key == "urls[1]"


def test_many_schemes_are_a_list_in_the_message() -> None:
    with pytest.raises(ConfigError) as caught:
        check_url("mail.lan", schemes=("https", "smtp", "imap", "ldap"))
    assert caught.value.problem == (
        "expected a URL with one of the schemes https, smtp, imap, ldap, got 'mail.lan'"
    )


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://h", "http://h"),
        (" http://h:1/ ", "http://h:1"),
        ("https://[::1]:8/a/b//", "https://[::1]:8/a/b"),
        ("http://me:hunter2@h/", "http://me:hunter2@h"),
    ],
)
def test_base_url_has_no_slash_at_its_end(url: str, base: str) -> None:
    assert check_base_url(url) == base


@pytest.mark.parametrize(
    "url", ["http://h/?a=hunter2", "http://h/x?", "http://h/#top", "http://h#", "http://h/?a#b"]
)
def test_base_url_with_a_query_or_fragment_would_lead_elsewhere(url: str) -> None:
    with pytest.raises(ConfigError, match="expected a URL without a query or fragment") as caught:
        check_base_url(url, key="apiUrl")
    assert (caught.value.key, caught.value.hint) == ("apiUrl", "paths are appended to it")
    assert "hunter2" not in str(caught.value)


def test_redacted_url_keeps_what_is_no_secret() -> None:
    assert redact_url("https://[::1]:8/p?flag&k=v#top") == "https://[::1]:8/p?flag&k=***"
    for url in ("https://host/@name", "http://host/path@x", "http://[::1]:8/path@x", "http://["):
        assert redact_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "user:hunter2@host:8",
        "http:/user:hunter2@host:8",
        "hunter2@host:8",
        "user:hun/ter2@host:8",
        "user:hun?ter2@host:8",
    ],
)
def test_password_of_a_url_without_a_scheme_is_redacted(url: str) -> None:
    assert redact_url(url) == "***@host:8"


#: With what should be percent-encoded there, and often is not.
BADLY_WRITTEN = st.text("ab1 /?#@:&=%[]\\\n")


@given(user=st.text("ab1%"), password=BADLY_WRITTEN, scheme=st.sampled_from(["http", "socks5h"]))
@example(user="user", password="12/34", scheme="http")
def test_password_is_redacted_however_it_is_written(user: str, password: str, scheme: str) -> None:
    url = f"{scheme}://{user}:{password}@host:8/p?token=hunter2"
    assert redact_url(url) == f"{scheme}://***@host:8/p?token=***"


@given(path=st.text("ab1/:~"), name=st.text("ab1-_"), value=st.text("ab1:?/=", min_size=1))
def test_url_without_user_information_loses_its_values_only(
    path: str, name: str, value: str
) -> None:
    assert redact_url(f"http://host:8/{path}?{name}={value}") == f"http://host:8/{path}?{name}=***"


@pytest.mark.parametrize(
    "url", ["http://me:hunter2@host/", "http://me@host/", "http://me:hun/ter2@host/"]
)
def test_credentials_in_a_url_are_refused_where_options_hold_them(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_url(url, credentials=False)
    assert "hun" not in str(caught.value)
    assert "***@host" in str(caught.value)


def test_label_is_the_url_without_its_user_information() -> None:
    assert url_label("http://me:hunter2@host:8/a?b=c") == "http://***@host:8/a?b=c"
    assert url_label("http://host/users/@me") == "http://host/users/@me"
