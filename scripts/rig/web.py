"""The few HTTP requests that the rig makes, all on loopback."""

import json
import urllib.error
import urllib.request

from rig.programs import RigError


def ask(method: str, url: str, body: object = None, seconds: float = 10.0) -> object:
    """A JSON request; `RigError` with the answer's text if the status is not 2xx."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        raise RigError(f"{method} {url}: {error.code} {error.read().decode(errors='replace')[:500]}") from None
    except OSError as error:
        raise RigError(f"{method} {url}: {error}") from None
    return json.loads(text) if text.strip() else None


def text(url: str, seconds: float = 5.0) -> str:
    """The body of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:
            return answer.read().decode()
    except OSError as error:
        raise RigError(f"GET {url}: {error}") from None


def is_ok(url: str) -> bool:
    """Whether a GET is answered 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False
