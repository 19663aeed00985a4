"""Digest authentication by the examples of its specification."""

import secrets

import pytest

from pollect.support._http.credentials import Digest, parse_challenge

#: RFC 7616, section 3.9.1; the answers are those printed there.
REALM = (
    'realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
ANSWERS = {
    "MD5": "8ca523f5e9506fed4657c9700eebdbec",
    "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
}


@pytest.mark.parametrize("algorithm", ANSWERS)
def test_answers_are_those_of_the_specification(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_nonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    monkeypatch.setattr(secrets, "token_hex", lambda _: own_nonce)
    digest = Digest("Mufasa", "Circle of Life")
    assert digest.header("GET", "/dir/index.html") == "", "the server has not asked yet"
    assert digest.accept(['Basic realm="x"', "Digest " + REALM.format(algorithm=algorithm)])
    fields = parse_challenge(digest.header("GET", "/dir/index.html"))
    assert fields["response"] == ANSWERS[algorithm]
    assert (fields["qop"], fields["nc"], fields["cnonce"]) == ("auth", "00000001", own_nonce)
    assert fields["opaque"] == "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
    assert parse_challenge(digest.header("GET", "/"))["nc"] == "00000002"


def test_challenge_of_the_first_specification_is_answered_without_quality() -> None:
    digest = Digest("me", "hunter2")
    assert digest.accept(['Digest realm="a \\"box\\"", nonce="n"'])
    header = digest.header("GET", "/")
    assert 'realm="a \\"box\\""' in header
    assert "qop" not in header


@pytest.mark.parametrize(
    "challenges",
    [[], ["Basic realm=x"], ['Digest realm="x", nonce="n", algorithm=WHIRLPOOL'], ["Digest"]],
)
def test_challenges_that_cannot_be_answered_are_left_alone(challenges: list[str]) -> None:
    assert not Digest("me", "hunter2").accept(challenges)


def test_digest_is_found_among_other_schemes_of_one_header() -> None:
    text = 'Basic realm="a", Digest realm="b", nonce="n,1", Bearer realm="c"'
    assert parse_challenge(text) == {"realm": "b", "nonce": "n,1"}
