"""`get_url`, `accept` and `remove_empty_list` of pollect 1.x."""

from collections.abc import Collection
from typing import TypeVar

ListT = TypeVar("ListT")

HTTP_OK = 200


def get_url(
    url: str, timeout: float = 5, expected_status: int | None = None, proxy: str | None = None
) -> str:
    """Return the text at an HTTP address.

    Raises `ValueError` for a status other than `expected_status` (200 by default) and `OSError`
    when there is no answer in `timeout` seconds. `proxy` serves HTTP and HTTPS addresses.
    """
    import urllib.error
    import urllib.request

    if not url.startswith(("http://", "https://")):
        raise ValueError(f"expected an http or https address, got {url[:80]!r}")
    proxies = dict.fromkeys(("http", "https"), proxy) if proxy else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    try:
        answer = opener.open(url, timeout=timeout)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        if answer.status != (expected_status or HTTP_OK):
            raise ValueError(f"Invalid status code {answer.status}")
        charset = answer.headers.get_content_charset("utf-8")
        text: str = answer.read().decode(charset, errors="replace")
        return text


def accept(include: Collection[str] | None, exclude: Collection[str] | None, value: str) -> bool:
    """Whether `value` is in `include` (None: everything is) and not in `exclude`."""
    if exclude is not None and value in exclude:
        return False
    return include is None or value in include


def remove_empty_list(list_obj: ListT) -> ListT | None:
    """Return the list, or None if there is nothing in it."""
    return list_obj or None
