"""Tokens that last as long as a command runs, and how a browser is led to a page with one."""

import html
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet_dagster.core.windows import DAY
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.store import Store
from fleet_dagster.storage.tokens import Role, Tokens

LASTS = 7 * DAY
"""How long such a token counts at most, should nothing revoke it: the process may be killed [us]."""


@contextmanager
def own_token(store: Store, name: str, role: Role) -> Iterator[str]:
    """Make a token that is revoked at the end of the block; yields its secret."""
    now, tokens = now_us(), Tokens(store.control)
    token, secret = tokens.create(name, role, at=now, expires_at=now + LASTS)
    try:
        yield secret
    finally:
        tokens.revoke(token.token_id, at=now_us())


@contextmanager
def shown_in_browser(address: str) -> Iterator[None]:
    """Open an address with a token in it, by way of a file that only its owner may read: everybody can see how a browser is called."""
    with tempfile.TemporaryDirectory(prefix="fleet-dashboard-") as folder:
        page = Path(folder) / "dashboard.html"
        refresh = f'<meta http-equiv="refresh" content="0; url={html.escape(address)}">'
        page.write_text(f"<!doctype html><title>Fleet dashboard</title>{refresh}", encoding="utf-8")
        # A browser in the terminal would hold up whoever waits for it.
        opened = threading.Thread(target=webbrowser.open, args=(page.as_uri(),), daemon=True)
        opened.start()
        yield
