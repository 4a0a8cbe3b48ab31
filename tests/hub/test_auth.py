from __future__ import annotations

import http.client
import io
import json
import logging
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import requests

from mlhub_core.hub.server import HubServer
from mlhub_core.hub.signing import Signer
from tests.acceptance.kit import tar_gz

from .conftest import small_directory

KEY = "s3cr3t canary+/=é"
REFUSAL = {"detail": "Must provide API key or Bearer token to access this route."}
OPEN = [
    "",
    "datasets",
    "collections",
    "datasets?tags=radar",
    "collections/alpha_source",
    "models",
]
CLOSED = [
    "datasets/alpha",
    "datasets/nope",
    "datasets/doi/10.1/ABC.def",
    "datasets/",
    "collections/",
    "collections/alpha_source/",
    "collections/../datasets/alpha",
    "collections/alpha_source%2Fitems",
    "collections/alpha_source/items",
    "collections/alpha_source/items/item-1",
    "models/",
    "models/m",
    "catalog/alpha",
    "catalog/alpha/info",
    "archive/alpha_source",
    "archive/alpha_source/info",
    "nothing/here",
    "%64atasets/alpha",
]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    root = small_directory(tmp_path_factory.mktemp("auth"))
    with HubServer(root, api_key=KEY) as server:
        yield server


@pytest.mark.parametrize("path", OPEN)
def test_what_the_api_gives_to_anybody_is_open(
    hub: HubServer, session: requests.Session, path: str
) -> None:
    assert session.get(hub.url + path).status_code == 200


@pytest.mark.parametrize("path", CLOSED)
def test_all_else_wants_the_key(hub: HubServer, session: requests.Session, path: str) -> None:
    url = hub.url + path
    for wrong in (None, "", "x", KEY[:-1], KEY + "x", KEY.upper()):
        query = {} if wrong is None else {"key": wrong}
        response = session.get(url, params=query, allow_redirects=False)
        assert (response.status_code, response.json()) == (401, REFUSAL)
    assert session.head(url).status_code == 401
    assert session.post(url).status_code == 401
    right = session.get(url, params={"key": KEY}, allow_redirects=False)
    assert right.status_code in (200, 303, 404)
    for header in ("Bearer x", "Bearer", "Bearer ", "Basic " + quote(KEY), "x"):
        response = session.get(url, headers={"Authorization": header})
        assert response.status_code == 401


def test_a_bearer_token_is_a_key(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = small_directory(tmp_path_factory.mktemp("bearer"))
    with HubServer(root, api_key="plain-key") as server:
        for scheme in ("Bearer", "bearer"):
            headers = {"Authorization": f"{scheme} plain-key"}
            assert requests.get(server.url + "models/m", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["assets/a.tif", "archives/alpha_source.tar.gz", "nothing/here"])
def test_files_want_the_key_or_a_signature(
    hub: HubServer, session: requests.Session, path: str
) -> None:
    url = f"{hub.address}/files/{path}"
    assert session.get(url).status_code == 401
    right = session.get(url, params={"key": KEY}).status_code
    assert right == (404 if "nothing" in path else 200)
    signed = Signer(KEY.encode(), "/files/").sign(url)
    assert session.get(signed).status_code == right
    other = Signer(b"another", "/files/").sign(url)
    for wrong in (signed[:-1], signed.replace("expires=", "expires=9"), other, f"{url}?signature="):
        assert session.get(wrong).status_code == 401
    assert session.get(signed.replace(path, "assets/../secret.txt")).status_code == 401
    with_old = re.sub("expires=[0-9]+", "expires=1000", signed)
    assert session.get(with_old).status_code == 401


@pytest.mark.parametrize("path", ["catalog/alpha", "archive/alpha_source"])
def test_a_redirect_leads_to_a_signed_link(
    hub: HubServer, session: requests.Session, path: str
) -> None:
    redirect = session.get(hub.url + path, params={"key": KEY}, allow_redirects=False)
    location = redirect.headers["location"]
    assert "canary" not in location
    assert session.get(location).content == session.get(hub.url + path, params={"key": KEY}).content


def test_links_in_catalogs_and_items_are_signed(tmp_path: Path, session: requests.Session) -> None:
    root = small_directory(tmp_path)
    with HubServer(root, api_key=KEY) as server:
        ours, foreign = f"{server.asset_base_url}/a.tif", "http://elsewhere.example/a.tif"
        document = {"id": "x", "assets": {"a": {"href": ours}, "b": {"href": foreign}}}
        (root / "items" / "alpha_source.jsonl").write_text(json.dumps(document) + "\n")
        members = {"alpha/x.json": json.dumps(document).encode(), "alpha/data.bin": b"raw"}
        (root / "catalogs" / "alpha.tar.gz").write_bytes(tar_gz(members))
        packed = session.get(server.url + "catalog/alpha", params={"key": KEY})
        with tarfile.open(fileobj=io.BytesIO(packed.content)) as tar:
            read = {member.name: tar.extractfile(member) for member in tar}
            found = {name: file.read() for name, file in read.items() if file}
        assert found["alpha/data.bin"] == b"raw"
        place = server.url + "collections/alpha_source/items"
        page = session.get(place, params={"key": KEY}).json()["features"][0]
        one = session.get(f"{place}/x", params={"key": KEY}).json()
        for signed in (json.loads(found["alpha/x.json"]), page, one):
            assert signed["assets"]["b"]["href"] == foreign
            assert session.get(signed["assets"]["a"]["href"]).content == b"0123456789"
        again = {"If-None-Match": packed.headers["etag"]}
        unchanged = session.get(server.url + "catalog/alpha", params={"key": KEY}, headers=again)
        assert unchanged.status_code == 304


def test_the_page_wants_no_key(hub: HubServer, session: requests.Session) -> None:
    page = session.get(hub.address + "/")
    assert page.status_code == 200
    assert "MLHUB_API_KEY" in page.text
    assert "canary" not in page.text


def test_without_a_key_nobody_is_refused(small_hub: HubServer, session: requests.Session) -> None:
    assert session.get(small_hub.url + "models", params={"key": "any"}).status_code == 200
    assert session.get(small_hub.url + "models").status_code == 200


def test_no_log_shows_the_key(
    hub: HubServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    # http.client, because urllib3 would log the URL itself.
    caplog.set_level(logging.DEBUG)
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=300)
    for path in ("/mlhub/v1/models/m", "/mlhub/v1/nope", "/mlhub/v1/datasets/", "/files/assets/no"):
        connection.request("GET", f"{path}?key={quote(KEY)}")
        connection.getresponse().read()
    connection.request("GET", "/mlhub/v1/models/m?key=wrong-canary")
    connection.getresponse().read()
    connection.close()
    assert "/mlhub/v1/models/m?key=*** -> 200" in caplog.text
    assert "/mlhub/v1/models/m?key=*** -> 401" in caplog.text
    output = capfd.readouterr()
    assert "canary" not in caplog.text + output.out + output.err
