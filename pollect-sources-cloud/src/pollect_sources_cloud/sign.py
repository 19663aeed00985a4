"""Signs one token and ends: `python -m pollect_sources_cloud.sign`, see `signing`.

Standard input is JSON with claims, key (PEM), algorithm and key_id; the token goes to standard
output. Exit status 3: the key is not one for the algorithm.
"""

import json
import sys

BAD_KEY = 3


def main() -> int:
    """Sign what standard input asks for."""
    import jwt

    request = json.load(sys.stdin.buffer)
    headers = {"kid": request["key_id"]} if request["key_id"] else None
    try:
        token = jwt.encode(
            request["claims"], request["key"], algorithm=request["algorithm"], headers=headers
        )
    except Exception:  # noqa: BLE001 - ValueError, TypeError and errors of the libraries' own
        return BAD_KEY
    sys.stdout.write(token)
    return 0


if __name__ == "__main__":
    sys.exit(main())
