"""What workers do in the place of training where only the way to them and back is looked at; no torch."""

from __future__ import annotations

import json
import time

from tests.small import ok

STUB_SECONDS = 0.05


def look(given: str) -> bytes:
    """What a worker says that has everything that the plan needs."""
    plan = json.loads(given)
    sources = [{"version": origin["version"], "sha256": origin["sha256"]} for origin in plan["origins"]]
    result = {"status": "ok", "fingerprints": [data["fingerprints"] for data in plan["preload"]]}
    said = {"daemon": False, "sources": sources, "unseen": [], "result": result, "environment": {"torch": "stub"}}
    return json.dumps(said).encode()


def run(given: str, job: str) -> bytes:
    """A result that depends on the payload alone, after a while."""
    wanted = json.loads(job)
    time.sleep(STUB_SECONDS)
    result = ok(wanted["payload"])
    observed = {"total_seconds": STUB_SECONDS, "overlapped": False}
    return json.dumps(
        {"id": wanted["id"], "result": result, "environment": {"torch": "stub"}, "observed": observed}
    ).encode()
