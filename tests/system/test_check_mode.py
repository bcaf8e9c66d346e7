"""Check mode on a deployed fleet: it asks, and predicts no change."""
from __future__ import annotations


def test_a_deployed_site_predicts_no_change(playbook) -> None:
    run = playbook("site", "--check", "--diff")
    assert (run.code, run.changed) == (0, 0), run.output[-4000:]


def test_a_second_run_changes_nothing(playbook) -> None:
    run = playbook("site")
    assert (run.code, run.changed) == (0, 0), run.output[-4000:]
