"""The steps of a pipeline as tasks: thin wrappers over functions of the core. No logic here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, update_wrapper
from inspect import signature
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from mlhub_core import steps
from tasks.runtime import run_hooks

_NAMES: dict[Any, str] = {steps.filter_assets: "filter", steps.prune_files: "prune"}
"""What tasks are called that are not called as their steps are."""


@cache
def task_of(step: Callable[..., Any]) -> Task[..., Any]:
    """The task of a step, of the same name, with dashes.

    It takes what the step takes but for the run, which it finds in its context: a stop flag must be
    seen by threads that run already, a listener is a function, and parameters are written down.

    Args:
        step: One of :mod:`mlhub_core.steps`.
    """

    def run_step(*values: Any, **named: Any) -> Any:
        with run_hooks() as hooks:
            return step(hooks.run, *values, **named)

    taken = signature(step)
    parameters = list(taken.parameters.values())[1:]
    update_wrapper(run_step, step)
    # Prefect reads the names of parameters off this.
    vars(run_step)["__signature__"] = taken.replace(parameters=parameters)
    name = _NAMES.get(step, step.__name__.replace("_", "-"))
    subject = "paths.dataset_id" if "paths" in taken.parameters else parameters[0].name
    return task(
        name=name,
        task_run_name=f"{name} {{{subject}}}",
        cache_policy=NO_CACHE,
        persist_result=False,
    )(run_step)
