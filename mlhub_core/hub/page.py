"""The page that a browser sees at the hub's address."""

from __future__ import annotations

from html import escape

from mlhub_core.hub.store import HubStore

_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>MLHub</title>
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em }}
pre {{ background: #f2f2f2; color: #111; padding: .7em; overflow-x: auto }}
</style>
<h1>MLHub</h1>
<p>A server of machine-learning datasets with the API of MLHub, run by mlhub-flows.</p>
<h2>Datasets</h2>
<ul>
{datasets}
</ul>
<h2>Point a client here</h2>
<pre>{exports}</pre>
{hint}</html>
"""


def export_lines(root_url: str, *, needs_key: bool) -> list[str]:
    """The two lines for a shell that point a client at a hub; a key is never among them.

    The reference client wants a key for a hub that needs none, too, and knows the profile without
    one as an argument only.
    """
    key = '"$MLHUB_SERVE_API_KEY"' if needs_key else "none"
    return [f"export MLHUB_ROOT_URL={root_url}", f"export MLHUB_API_KEY={key}"]


def render(store: HubStore, root_url: str, *, needs_key: bool) -> str:
    """The page as HTML.

    Args:
        store: What the hub has.
        root_url: The root of its API.
        needs_key: Whether it wants a key.
    """
    datasets = "\n".join(
        f"<li><code>{escape(key)}</code> {escape(str(dataset.get('title') or ''))}"
        for key, dataset in store.datasets.items()
    )
    exports = escape("\n".join(export_lines(root_url, needs_key=needs_key)))
    hint = "<p>MLHUB_SERVE_API_KEY is the key of this hub.</p>\n" if needs_key else ""
    return _PAGE.format(datasets=datasets or "<li>none", exports=exports, hint=hint)
