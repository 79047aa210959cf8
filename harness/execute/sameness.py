"""Whether a worker has what the plan needs: the same plugins, the same data, the same numeric environment."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import harness
from harness.execute import Settings
from harness.registry.catalog import Origin
from harness.registry.discovery import Source, find
from harness.spec import canonical

UNSEEN = "weights that runs start from must lie under the same path for all workers, on a disk that they share"
DAEMON = (
    "it runs as a daemon, which may have no processes of its own; "
    "start workers with DASK_DISTRIBUTED__WORKER__DAEMON=False"
)


def own_origin() -> Origin:
    """Harness itself, as far as a run depends on it: the module that does runs, and all that it imports."""
    file, root = Path(__file__).with_name("work.py"), Path(__file__).parents[1]
    source = Source("harness", harness.__version__, "harness.execute.work", file, root, local=False)
    return Origin("harness", harness.__version__, source.module, str(file), source.sha256())


def source_of(origin: Origin) -> dict[str, str] | None:
    """Version and hash that the plugin has here, None where it is not here; nothing is imported."""
    if origin.module == "harness.execute.work":
        own = own_origin()
        return {"version": own.version, "sha256": own.sha256}
    if origin.local:
        file = Path(origin.file)
        sources = [Source(origin.distribution, "", origin.module, file, file.parent, local=True)]
        sources = sources if os.access(file, os.R_OK) else []
    else:
        sources = [source for source in find() if not source.local and source.module == origin.module]
        sources = [source for source in sources if os.access(source.file, os.R_OK)]
    return {"version": sources[0].version, "sha256": sources[0].sha256()} if sources else None


def differences(settings: Settings, report: Mapping[str, Any]) -> list[str]:
    """In what a worker is not as the plan needs it, but for its environment; both values are named."""
    if report["daemon"]:
        return [DAEMON]
    found = [
        _plugin_difference(Origin(**origin), source)
        for origin, source in zip(settings.origins, report["sources"], strict=True)
    ]
    if any(found):
        return [text for text in found if text]
    if report["unseen"]:
        return [*report["unseen"], UNSEEN]
    if report["result"]["status"] != "ok":
        return [f"its data: {report['result']['reason']}"]
    pairs = zip(settings.preload, report["result"]["fingerprints"], strict=True)
    return [text for wanted, there in pairs for text in _data_differences(wanted, there)]


def _plugin_difference(origin: Origin, there: Mapping[str, str] | None) -> str:
    name = f"plugin {origin.module} ({origin.distribution})" if origin.distribution != "harness" else origin.module
    if there is None:
        where = f"no file {origin.file}" if origin.local else f"not installed; here it is {origin}"
        return f"{name}: {where}"
    if there["version"] != origin.version:
        return f"{name}: version {there['version']} there, {origin.version} here"
    if there["sha256"] != origin.sha256:
        return f"{name}: source {there['sha256'][:12]} there, {origin.sha256[:12]} here"
    return ""


def _data_differences(wanted: Mapping[str, Any], there: Mapping[str, str]) -> list[str]:
    name, expected = wanted["options"]["use"], wanted["fingerprints"]
    return [
        f"data set '{name}', {split} split: {there[split][:12]} there, {expected[split][:12]} here"
        for split in expected
        if there[split] != expected[split]
    ]


def environment_differences(expected: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """What differs of two numeric environments."""
    names = sorted({*expected, *there})
    return [
        f"{name} {there.get(name)!s} there, {expected.get(name)!s} with the others"
        for name in names
        if there.get(name) != expected.get(name)
    ]


def most_common(environments: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The numeric environment that most workers have; of several, the first."""
    counted = Counter(map(canonical, environments))
    return max(environments, key=lambda one: counted[canonical(one)])
