"""How a task gets at the API key: by the name of where it is kept, never by its value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect.blocks.system import Secret

from mlhub_core.exceptions import APIKeyNotFound


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API key is.

    Attributes:
        profile: A profile on the machine that runs the task.
        api_key_block: A Prefect Secret block.
    """

    profile: str | None = None
    api_key_block: str | None = None

    def api_key(self) -> str | None:
        """The key in the Secret block, None if there is no block to look in.

        Raises:
            APIKeyNotFound: if the block does not exist.
        """
        if self.api_key_block is None:
            return None
        try:
            # Without _sync it gives a coroutine wherever an event loop happens to run.
            block: Any = Secret.load(self.api_key_block, _sync=True)  # type: ignore[call-arg]
        except ValueError as error:
            raise APIKeyNotFound(
                f"There is no Prefect Secret block {self.api_key_block!r}: make one in the UI "
                "under Blocks, or name another."
            ) from error
        return str(block.get())
