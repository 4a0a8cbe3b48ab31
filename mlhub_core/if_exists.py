"""What to do where a file already lies."""

from __future__ import annotations

from enum import StrEnum

from mlhub_core.exceptions import InvalidArgument


class DownloadIfExistsOpts(StrEnum):
    """Allowed values of ``if_exists``, with the names of the reference client."""

    resume = "resume"
    """Keep what is complete, continue what is not (the default)."""
    skip = "skip"
    """Keep whatever lies at the final place, ask nobody."""
    overwrite = "overwrite"
    """Fetch anew; the old file is replaced once the new one is whole."""

    @classmethod
    def of(cls, value: DownloadIfExistsOpts | str) -> DownloadIfExistsOpts:
        """Read an option from an enum member or its name.

        Raises:
            InvalidArgument: for anything else.
        """
        try:
            return cls(value)
        except ValueError as error:
            raise InvalidArgument(
                f"if_exists is {value!r}: use one of {', '.join(member.value for member in cls)}."
            ) from error
