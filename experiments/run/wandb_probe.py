"""One short question to a W&B server before a run begins: does it take this account?"""

from __future__ import annotations

import base64
import http.client
import json
import queue
import threading
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import wandb
from wandb.sdk import wandb_setup
from wandb.sdk.lib import wbauth

QUESTION = "query Viewer { viewer { id } }"
LIMIT = 2**20  # bytes that are read of an answer; W&B's has some fifty


def find_account() -> tuple[str, str] | None:
    """Return the address of the server and the key that W&B's client would use; None if there is no key.

    Raises:
        wandb.Error: what stands for a key cannot be one.
    """
    server = wandb_setup.singleton().settings.base_url
    account = wbauth.authenticate_session(host=server, source="", prompt=False, update_session=False)
    return (server, account.api_key) if isinstance(account, wbauth.AuthApiKey) else None


def why_refused(server: str, key: str, timeout: float) -> str:
    """Return what is wrong with a server, after so many seconds at most; nothing if it takes the key.

    A thread of its own asks, since no timeout of Python ends the look-up of a name, or an answer that comes in drops.
    """
    answers: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: answers.put(_ask(server, key, timeout)), daemon=True).start()
    try:
        return answers.get(timeout=timeout)
    except queue.Empty:
        return f"gives no answer within {timeout:g} s"


class _NoRedirects(HTTPRedirectHandler):
    """A handler that follows no redirects: W&B sends none, and the key is not for the login page of a network."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _ask(server: str, key: str, timeout: float) -> str:
    token = base64.b64encode(f"api:{key}".encode()).decode()
    headers = {
        "Authorization": f"Basic {token}",
        "Content-Type": "application/json",
        "User-Agent": f"wandb/{wandb.__version__}",
    }
    try:
        request = Request(f"{server.rstrip('/')}/graphql", json.dumps({"query": QUESTION}).encode(), headers)
        with build_opener(_NoRedirects).open(request, timeout=timeout) as answer:
            viewer = json.loads(answer.read(LIMIT))["data"]["viewer"]
    except HTTPError as error:
        error.close()
        return f"answers {error.code}" + (", it does not take the key" if error.code in (401, 403) else "")
    except TimeoutError:
        return f"gives no answer within {timeout:g} s"
    except (URLError, OSError, http.client.HTTPException) as error:
        return f"cannot be reached ({getattr(error, 'reason', error)})"
    except (ValueError, KeyError, TypeError):
        return "gives another answer than W&B, as the login page of a network does"
    return "" if viewer else "answers that it does not know the key"
