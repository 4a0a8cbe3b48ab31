"""The reference client's own filter steps over its table of assets; run by its interpreter."""

import json
import logging
import sqlite3
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from radiant_mlhub.client.catalog_downloader import CatalogDownloader, CatalogDownloaderConfig
from radiant_mlhub.session import Session

database, shape = sys.argv[1:]
logging.disable(logging.CRITICAL)
fields = {
    "temporal_query": (
        datetime(2017, 8, 1, tzinfo=UTC),
        datetime(2017, 8, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ),
    "bbox": [10.0, 44.0, 13.0, 46.4],
}
if shape != "box":
    fields = {"intersects": {"type": "Feature", "geometry": json.loads(Path(shape).read_text())}}
steps = CatalogDownloader(
    CatalogDownloaderConfig(
        dataset_id="bench",
        output_dir=Path(database).parent,
        mlhub_api_session=Session(api_key="none"),
        **fields,
    )
)
steps.db_conn = sqlite3.connect(
    database, detect_types=sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES
)
steps.db_cur = steps.db_conn.cursor()
steps.db_cur.arraysize = 1024
rows = steps.db_cur.execute("SELECT COUNT(*) FROM assets").fetchone()[0]
wall, cpu = time.perf_counter(), time.process_time()
steps._filter_temporal_step()
steps._filter_bbox_step()
steps._filter_intersects_step()
taken = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
left = steps.db_cur.execute("SELECT COUNT(*) FROM assets WHERE filtered = 0").fetchone()[0]
print(json.dumps({**taken, "rows": rows, "files": left}))
