"""The reference client's unarchive and list steps alone; run by the Python that has it.

python reference_list.py ARCHIVE DATASET OUTPUT_DIR
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path


def main() -> None:
    from radiant_mlhub.client.catalog_downloader import (  # type: ignore[import-not-found]
        CatalogDownloader,
        CatalogDownloaderConfig,
    )
    from radiant_mlhub.session import Session  # type: ignore[import-not-found]

    archive, dataset, output = sys.argv[1:]
    config = CatalogDownloaderConfig(
        dataset_id=dataset, output_dir=Path(output), mlhub_api_session=Session(api_key="none")
    )
    client = CatalogDownloader(config)
    client.catalog_file = Path(archive)
    started = time.perf_counter(), time.process_time()
    client._unarchive_catalog_step()
    unarchived = time.perf_counter() - started[0]
    client._init_db()
    client._create_asset_list_step()
    client._finalize_db()
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - started[0],
                "cpu": time.process_time() - started[1],
                "unarchive": unarchived,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            }
        )
    )


if __name__ == "__main__":
    main()
