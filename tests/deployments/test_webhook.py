"""What a failed run's webhook says."""

from __future__ import annotations

from types import SimpleNamespace

from prefect.server.utilities.user_templates import render_user_template_sync

from deployments.notify_on_failure import automation


def test_its_link_leads_to_the_run_though_the_server_is_not_told_its_address() -> None:
    (action,) = automation("b", "http://prefect.example:4200")["actions"]
    state = SimpleNamespace(message="DownloadIncomplete: 3 of 9 files", name="Failed")
    told = {"flow_run": SimpleNamespace(id="0190-a8", name="x", state=state)}
    text = render_user_template_sync(action["body"], told)
    assert text == f"{state.message}\nhttp://prefect.example:4200/runs/flow-run/0190-a8"
