"""The local STAC is the same and valid, whatever the dataset comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import pystac
import pytest
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from tests.acceptance.test_any_source import COUNT, FORMS, expected, have
from tests.acceptance.test_any_source import offered as offered  # a fixture
from tests.stac_extensions import problems

_KINDS = {
    "Catalog": pystac.STACObjectType.CATALOG,
    "Collection": pystac.STACObjectType.COLLECTION,
    "Feature": pystac.STACObjectType.ITEM,
}


# One of each way that they come on: unpacked, document by document, pages, columns.
FAST = ("tar_gz", "static", "api", "index")


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=() if form in FAST else pytest.mark.slow) for form in FORMS]
)
def test_it_is_valid_and_leads_to_every_file(form: str, offered: Any) -> None:
    forms = offered(COUNT)
    assert have(form, forms) == 0
    root = Path("out/made").absolute()
    validator = JsonSchemaSTACValidator()
    found = set()
    for path in (root / "stac").rglob("*.json"):
        document = json.loads(path.read_bytes())
        validator.validate_core(document, _KINDS[document["type"]], "1.1.0")
        assert list(problems(document)) == []
        for asset in document.get("assets", {}).values():
            found.add((path.parent / asset["href"]).resolve().relative_to(root.resolve()))
    table = Path("items.parquet")
    assert {path.as_posix() for path in found - {table}} == expected(forms)
    layer = geopandas.read_parquet(root / table)
    assert set(layer["id"]) == {item["id"] for item in forms.items}
    catalog = pystac.Catalog.from_file(str(root / "stac" / "catalog.json"))
    assert len(list(catalog.get_items(recursive=True))) == len(forms.items)
