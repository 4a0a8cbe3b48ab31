"""Objects over the MLHub API: datasets, collections and models."""

from mlhub_core.models.collection import Collection
from mlhub_core.models.dataset import CollectionList, CollectionType, Dataset
from mlhub_core.models.ml_model import MLModel

__all__ = ["Collection", "CollectionList", "CollectionType", "Dataset", "MLModel"]
