"""A page, an error or nothing in place of a file is refused; an odd file is taken all the same."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.selection.partition import Asset
from mlhub_core.transfer.contents import LOOKED_AT, Answer, cause_against
from tests.faultserver import FaultServer, chunked
from tests.transfer.kit import Kit

HTML = b"<!DOCTYPE html>\n<html><title>Please log in</title></html>"
S3_ERROR = b"<?xml version='1.0'?>\n<Error><Code>ExpiredToken</Code></Error>"
BUCKET = (
    b"<?xml version='1.0'?><ListBucketResult xmlns='http://s3'><Name>b</Name></ListBucketResult>"
)
AUTOINDEX = b"<html>\n<head><title>Index of /d.zarr/</title></head><body><h1>Index of /</h1></body>"

DATA = ["tif", "geojson", "json", "csv", "parquet", "png", "jpg", "nc", "h5", "zip", "gz", "jp2"]
DATA += ["npy", "txt", "pdf", "bin", "pkl", "laz", "zarr", "tsv"]
PAGES = {
    "a page": (HTML, "text/html"),
    "a page without a type": (HTML, None),
    "a page of another type": (HTML, "application/octet-stream"),
    "a page behind blanks": (b"\xef\xbb\xbf\r\n <!-- c -->\n<HTML lang=en>", None),
    "a page in UTF-16": ("\ufeff<html><body>".encode("utf-16-le"), None),
    "a page in XHTML": (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "x"><html xmlns="x">', None),
    "a part of a page": (b"<p>Session expired: <a href='/login'>log in</a></p>", "text/html"),
    "an error of S3": (S3_ERROR, "application/xml"),
    "an error of S3 without a type": (S3_ERROR, None),
    "an error of OGC": (b"<ows:ExceptionReport><ows:Exception/></ows:ExceptionReport>", "text/xml"),
    "a listing of a bucket": (BUCKET, "application/xml"),
    "a listing": (AUTOINDEX, "text/html"),
    "an error in JSON": (b'{"error": "token expired", "status": 401}', "application/json"),
    "a message in JSON": (b'{"message":"Forbidden"}', None),
    "problem details": (b'{"title":"Unauthorized","status":401,"detail":"x"}', None),
    "an error in words": (b"HTTP Basic: Access denied.\n", "text/plain"),
    "an error in a word": (b"Unauthorized", None),
    "an error with its status": (b"404 page not found", None),
    "a request to sign in": (b"Please log in to download this file.", "text/html"),
}


def asset(name: str, media_type: str | None = None, size: int | None = None) -> Asset:
    return Asset(f"c/i/{name}", "https://h.test/x", "c", "i", "k", size, None, media_type)


def cause(content: bytes, name: str, kind: str | None = None, **about: Any) -> str:
    etag = about.pop("etag", None)
    answer = Answer(content[:LOOKED_AT], len(content), kind, etag)
    return cause_against(answer, asset(name, **about))


@pytest.mark.parametrize("page", PAGES)
def test_what_is_no_file(page: str) -> None:
    content, kind = PAGES[page]
    passed = [suffix for suffix in DATA if not cause(content, f"a.{suffix}", kind)]
    assert passed == []
    assert cause(content, "a", kind, media_type="image/tiff")


@pytest.mark.parametrize("suffix", [one for one in DATA if one != "txt"])
def test_nothing_at_all(suffix: str) -> None:
    name = f"a.{suffix}"
    assert cause(b"", name) == f"an empty answer in place of a .{suffix} file"
    assert not cause(b"", name, size=0)
    assert not cause(b"", name, etag='"d41d8cd98f00b204e9800998ecf8427e"')


def written(write: Any) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def zipped(out: io.BytesIO) -> None:
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("index.html", HTML)


TRUE = {
    "a.tif": b"II*\0\x08\0\0\0" + bytes(50),
    "big.tif": b"II+\0\x08\0\0\0" + bytes(50),
    "text.tif": b"what a test calls a picture",
    "png.tif": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "a.jpg": b"\xff\xd8\xff\xe0\x10JFIF",
    "a.nc": b"CDF\x01" + bytes(20),
    "a.h5": b"<html>" + b" " * 506 + b"\x89HDF\r\n\x1a\n",  # a user block may hold anything
    "a.pdf": b"%PDF-1.4\n1 0 obj\n<< >>",
    "a.fits": b"SIMPLE  =                    T".ljust(2880),
    "a.npy": written(lambda out: np.save(out, np.arange(9))),
    "a.parquet": written(lambda out: pq.write_table(pa.table({"a": [1]}), out)),
    "a.zip": written(zipped),
    "a.json.gz": gzip.compress(b"{}"),
    "a.geojson": b'{"type":"FeatureCollection","features":[]}',
    "packed.geojson": gzip.compress(b"{}"),
    "a.json": b'\xef\xbb\xbf \n[1, 2, "<html>"]',
    "scalar.json": b"17",
    "call.json": b"callback({});",
    "rates.json": json.dumps({"error": 0.05, "status": "final"}).encode(),
    "errors.json": json.dumps({"error": "none", "rmse": 1, "model": "unet"}).encode(),
    "titled.json": json.dumps({"title": "Kenya", "description": "Fields of maize"}).encode(),
    "lines.ndjson": b'{"a":1}\n{"a":2}\n',
    "a.csv": b"id,label\n1,<b>maize</b>\n",
    "short.csv": b"error,count\n",
    "names.csv": b"forbidden,allowed\n1,2\n",
    "wide.csv": "\ufeffa,b\n1,2\n".encode("utf-16-le"),
    "a.txt": b"Error rates by class\n0.1 0.2\n",
    "yolo.txt": b"",
    "a.xml": b"<?xml version='1.0'?><metadata><error>0.5</error></metadata>",
    "a.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a.tif.aux.xml": b"<PAMDataset/>",
    "a.kml": b"<?xml version='1.0'?><kml/>",
    "a.pkl": pickle.dumps({"error": "none"}, protocol=0),
    "a.bin": b"some text",
    "a.html": HTML,
    "page.htm": b"<h1>Error</h1>",
    "a.md": b"<p align=center>Access denied</p>",
    "README": b"Not found: nothing of this.",
    "documentation": HTML,
    "viewer.php": HTML,
    "a.wkt": b"POINT (1 2)",
    "a.yaml": b"error: none\n",
    "LICENSE": b"",
}


@pytest.mark.parametrize("name", TRUE)
@pytest.mark.parametrize("kind", [None, "application/octet-stream", "binary/octet-stream"])
def test_an_odd_file_is_taken(name: str, kind: str | None) -> None:
    assert cause(TRUE[name], name, kind) == ""


@pytest.mark.parametrize("name", ["a.tif", "a.nc", "a.npy", "a.zip", "a.geojson", "a.csv", "a.pdf"])
@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/json", "text/xml"])
def test_first_bytes_outweigh_the_type(name: str, kind: str) -> None:
    assert cause(TRUE[name], name, kind) == ""


def test_pages_that_the_catalog_calls_pages_are_taken() -> None:
    for name in ("documentation.json", "readme.txt", "a.pdf", "a"):
        assert cause(HTML, name, "text/html", media_type="text/html; charset=utf-8") == ""


@given(st.binary(max_size=200), st.sampled_from([*DATA, "xml", "html", "x", ""]))
def test_any_bytes_are_judged(content: bytes, suffix: str) -> None:
    assert isinstance(cause(content, f"a.{suffix}"), str)


def test_on_the_wire(kit: Kit, server: FaultServer) -> None:
    """Small and large, whole and continued: none gets its name, and each is asked for twice."""
    large = HTML + b"<p>again</p>" * 20_000
    for name, (content, kind) in PAGES.items():
        path = f"/{hashlib.sha256(name.encode()).hexdigest()[:8]}.geojson"
        server.put(path, content, headers={"Content-Type": kind} if kind else {})
        kit.want(path)
    server.put("/large.tif", large)
    server.always("/large.tif", chunked())
    kit.want("/large.tif")
    server.put("/named.tif", HTML, headers={"Content-Type": "text/html"})
    kit.want("/named.tif", checksum=f"1220{hashlib.sha256(b'the file').hexdigest()}")
    result = kit.run()
    errors = kit.errors(result)
    assert (result.failed, list(kit.files())) == (len(kit.assets), [])
    assert all(" in place of a ." in error for error in errors.values())
    assert len(server.paths()) == 2 * len(kit.assets)
    assert kit.partials() == []


def test_a_checksum_of_the_catalog_outweighs_all(kit: Kit, server: FaultServer) -> None:
    for path, content in (("/a.tif", HTML), ("/b.geojson", b""), ("/c.json", S3_ERROR)):
        server.put(path, content, headers={"Content-Type": "text/html"})
        kit.want(path, checksum=f"1220{hashlib.sha256(content).hexdigest()}")
    assert kit.run().fetched == 3


def test_a_page_that_lies_there_is_not_taken_over(kit: Kit, server: FaultServer) -> None:
    for path, truth in (("/a.csv", b"a,b\n1,2\n"), ("/b.json", HTML)):
        server.put(path, truth)
        kit.want(path)
        kit.lay(path, HTML)
    server.put("/a.csv", HTML)
    server.when_asked("/a.csv", lambda: server.put("/a.csv", b"a,b\n1,2\n"))
    result = kit.run()
    assert (result.fetched, result.failed, result.adopted) == (1, 1, 0)
    assert kit.final("/a.csv").read_bytes() == b"a,b\n1,2\n"
