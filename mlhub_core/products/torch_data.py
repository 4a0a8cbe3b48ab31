"""Pairs as a dataset of PyTorch, and of TorchGeo. Imports what they need, and nothing before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlhub_core.extras import needed

if TYPE_CHECKING:
    import geopandas

Transform = Callable[[dict[str, Any]], Any] | None

_RASTERS = frozenset({".tif", ".tiff", ".jp2", ".img", ".vrt", ".nc"})
_ARRAYS = frozenset({".npy", ".npz"})
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp"})
_VECTORS = frozenset({".geojson", ".gpkg", ".shp", ".fgb", ".kml"})


def read_file(path: str | Path) -> Any:
    """Read a file by its kind: an array, a GeoDataFrame, JSON, text, or bytes.

    Rasters are read by rasterio, ``.npy`` by NumPy, pictures by Pillow, vectors by GeoPandas.

    Args:
        path: The file.

    Raises:
        InvalidArgument: if what reads it is not installed.
        OSError: if it cannot be read.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending in _RASTERS:
        rasterio = needed("rasterio", "torch")
        with rasterio.open(path) as raster:
            return raster.read()
    if ending in _ARRAYS:
        import numpy as np

        found = np.load(path, allow_pickle=False)
        return found if ending == ".npy" else dict(found)
    if ending in _PICTURES:
        import numpy as np

        with needed("PIL.Image", "torch").open(path) as picture:
            array = np.asarray(picture)
        return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return _read_text(path, ending)


def _read_text(path: Path, ending: str) -> Any:
    if ending in _VECTORS:
        import geopandas

        return geopandas.read_file(path)
    if ending == ".json":
        return json.loads(path.read_bytes())
    return path.read_text("utf-8") if ending in (".csv", ".txt") else path.read_bytes()


class PairSamples:
    """Samples of pairs, one read at a time: what a dataset of PyTorch has.

    Args:
        pairs: As ``LocalDataset.pairs`` gives them.
        transform: Applied to each sample.
        label: What the label is called in a sample.
    """

    def __init__(
        self, pairs: geopandas.GeoDataFrame, transform: Transform = None, label: str = "label"
    ) -> None:
        needed("torch", "torch")
        self.pairs = pairs
        self._sources: list[str] = list(pairs.attrs["sources"])
        self._transform = transform
        self._label = label

    def __len__(self) -> int:
        return len(self.pairs)

    def __reduce__(self) -> Any:
        # The class is made where it is needed; workers of a DataLoader make it again.
        make = torch_dataset if self._label == "label" else torchgeo_dataset
        return make, (self.pairs, self._transform)

    def __getitem__(self, number: int) -> Any:
        row = self.pairs.iloc[number]
        images = [_as_tensor(read_file(row[key])) for key in self._sources]
        label = _as_tensor(read_file(row["label"]), is_label=True)
        sample = {
            "image": _together(self._sources, images),
            self._label: _as_mask(label) if self._label == "mask" else label,
            "collection": row["collection"],
            "item": row["item"],
            "source_item": row["source_item"],
        }
        return sample if self._transform is None else self._transform(sample)


def _as_tensor(value: Any, *, is_label: bool = False) -> Any:
    """Arrays as tensors: images of floating point, labels as they are; all else unchanged."""
    import numpy as np

    if not isinstance(value, np.ndarray):
        return value
    torch = needed("torch", "torch")
    if value.dtype.kind == "u" and value.dtype.itemsize > 1:
        value = value.astype(np.int64)  # of which PyTorch has all operations
    tensor = torch.from_numpy(np.ascontiguousarray(value))
    return tensor if is_label else tensor.float()


def _as_mask(label: Any) -> Any:
    """A label as TorchGeo has it: of whole numbers, and one band without its axis."""
    torch = needed("torch", "torch")
    if not isinstance(label, torch.Tensor) or label.is_floating_point():
        return label
    return label.long().squeeze(0) if label.ndim == 3 else label.long()


def _together(names: list[str], images: list[Any]) -> Any:
    """Bands in one tensor where all are of one size; else by their names."""
    torch = needed("torch", "torch")
    sizes = {tuple(one.shape[-2:]) if isinstance(one, torch.Tensor) else None for one in images}
    if len(sizes) == 1 and None not in sizes:
        return torch.cat([one if one.ndim == 3 else one[None] for one in images])
    return dict(zip(names, images, strict=True))


def torch_dataset(pairs: geopandas.GeoDataFrame, transform: Transform) -> Any:
    """Pairs as a dataset of PyTorch.

    Args:
        pairs: As ``LocalDataset.pairs`` gives them.
        transform: Applied to each sample.

    Raises:
        InvalidArgument: if PyTorch is not installed.
    """
    data = needed("torch.utils.data", "torch")
    kind = type("PairDataset", (PairSamples, data.Dataset), {"__module__": __name__})
    return kind(pairs, transform)


def torchgeo_dataset(pairs: geopandas.GeoDataFrame, transforms: Transform) -> Any:
    """Pairs as a ``NonGeoDataset`` of TorchGeo, with ``mask`` for the label.

    Args:
        pairs: As ``LocalDataset.pairs`` gives them.
        transforms: Applied to each sample.

    Raises:
        InvalidArgument: if TorchGeo is not installed.
    """
    base = needed("torchgeo.datasets", "torchgeo").NonGeoDataset
    kind = type("PairDataset", (PairSamples, base), {"__module__": __name__})
    return kind(pairs, transforms, "mask")
