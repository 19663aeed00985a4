"""Tokens in the headers of requests."""


def is_token(credentials: str, token: str) -> bool:
    """Whether a client sent this token, in a time that tells nothing about it.

    `credentials` are as in a `Request`: one character for each byte. Clients disagree on how a
    token beyond ASCII is sent, as UTF-8 (curl) or as Latin-1 (Python's own client).
    """
    # For those who use tokens only: brings OpenSSL's hashes along.
    from hmac import compare_digest

    given = credentials.encode("latin-1", "replace")
    as_utf8 = compare_digest(given, token.encode())
    try:
        as_latin_1 = compare_digest(given, token.encode("latin-1"))
    except UnicodeEncodeError:
        as_latin_1 = False
    return bool(token) and (as_utf8 or as_latin_1)
