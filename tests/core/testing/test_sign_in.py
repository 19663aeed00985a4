import pytest

from pollect.api import AuthenticationFailed, BadResponse, Secret, SignIn, TargetUnavailable
from pollect.testing import RehearsedSignIn, serve_http
from tests.simulators.sign_in import CLIENT_ID, AuthorizationServer

REDIRECT = "http://localhost:4200/"
PARAMETERS = {"client_id": CLIENT_ID, "scope": "IoT User offline_access"}


def test_it_answers_in_order_and_remembers_what_was_shown() -> None:
    dialogue = RehearsedSignIn(answers=["", "secret"])
    as_operator: SignIn = dialogue
    assert as_operator.ask("User", default="me") == "me"
    assert as_operator.ask_secret("Password") == Secret("secret")
    as_operator.show("found: pump")
    assert dialogue.shown == ["User", "Password", "found: pump"]
    with pytest.raises(AssertionError, match="no answer left for the question 'PIN'"):
        as_operator.ask("PIN")


def test_a_button_is_pressed_when_it_is_waited_for() -> None:
    pressed: list[bool] = []
    dialogue = RehearsedSignIn(press=lambda: pressed.append(True))
    dialogue.wait_for("Press it.", lambda: bool(pressed))
    assert pressed == [True]
    with pytest.raises(TargetUnavailable):
        RehearsedSignIn().wait_for("Press it.", lambda: False)


def test_the_browser_brings_a_code_that_the_service_exchanges() -> None:
    server = AuthorizationServer(REDIRECT)
    with serve_http({"/authorize": server.authorize, "/token": server.token}) as service:
        dialogue = RehearsedSignIn()
        url = f"{service.url}/authorize"
        answer = dialogue.authorize(url, redirect_uri=REDIRECT, parameters=PARAMETERS)
        assert answer.code.reveal().startswith("code-")
        server.forged_state = "f" * 64
        with pytest.raises(BadResponse, match="another sign-in"):
            dialogue.authorize(url, redirect_uri=REDIRECT, parameters=PARAMETERS)
        server.forged_state, server.refuses = "", "access_denied"
        with pytest.raises(AuthenticationFailed, match="access_denied"):
            dialogue.authorize(url, redirect_uri=REDIRECT, parameters=PARAMETERS)
        with pytest.raises(AuthenticationFailed, match="expected a redirect"):
            dialogue.authorize(f"{service.url}/x", redirect_uri=REDIRECT, parameters=PARAMETERS)
