"""From STAC objects to the asset index, a GeoParquet file with a row per asset."""
