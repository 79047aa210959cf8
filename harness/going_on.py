"""Going on is never silently starting over: what changed since the records were made, said or refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.hookspecs import domain_to_plain
from harness.plan import Label, Plan
from harness.registry.catalog import Origin
from harness.spec import SCHEMA, TRAINING, digest, run_seeds
from harness.store import Record, Store
from harness.suite.origin import Origins

if TYPE_CHECKING:
    from harness.coordinator import Walk

Kept = Mapping[str, Any]
"""What `plan.json` says."""
_COMPARED = ("metric", "also", "epoch", "claim", "replicates", "untuned")
_PARTS = ("parts.", "source.parts.")
_COUNTED = ("problem", "arm", "tune", "final", "untuned")


def described(plan: Plan, *, outside: int = 0) -> dict[str, Any]:
    """What is kept of a plan, so that the next command sees what changed; `outside`: records that fell out."""
    suite = plan.suite
    settings = [described_setting(plan, setting.problem, setting.arm) for setting in suite.settings]
    chosen = asdict(suite.compare)
    return {
        "suite": suite.name,
        "question": suite.question,
        "schema": SCHEMA,
        "training": TRAINING,
        "runs": [{name: getattr(row, name) for name in _COUNTED} for row in plan.rows()],
        "settings": settings,
        "asked": {
            "seed": suite.seed,
            "execution.threads": suite.execution.threads,
            **{f"tuning.{name}": value for name, value in asdict(suite.tuning).items()},
            **{f"compare.{name}": chosen[name] for name in _COMPARED},
        },
        "outside": outside,
    }


def described_setting(plan: Plan, problem: str, arm: str) -> dict[str, Any]:
    """What runs of a setting have in common: its values, where its parts come from, what it searches, its data."""
    setting = plan.settings[problem, arm]
    return {
        "problem": problem,
        "arm": arm,
        "values": setting.values,
        "origins": {kind: str(origin) for kind, origin in setting.origins.items()},
        "plugins": _hashes(_origins(plan, problem, arm)),
        "space": {name: domain_to_plain(domain) for name, domain in setting.space.items()},
        **({} if setting.source is None else _source(plan, setting.source)),
        "data": dict(plan.facts[problem].fingerprints),
        "digest": digest(_template(plan, problem, arm, "final")),
    }


def _source(plan: Plan, source: Origins) -> dict[str, Any]:
    """What a setting's networks come from."""
    data = {} if plan.source_facts is None else dict(plan.source_facts.fingerprints)
    return {"source": source.values, "source_plugins": _hashes(source.origins), "source_data": data}


def _hashes(origins: Mapping[str, Origin]) -> dict[str, str]:
    return {kind: origin.sha256 for kind, origin in origins.items()}


def _origins(plan: Plan, problem: str, arm: str) -> dict[str, Origin]:
    metrics = {f"metric:{metric.name}": metric.origin for metric in plan.metrics(problem)}
    return {**plan.settings[problem, arm].origins, **metrics}


def _template(plan: Plan, problem: str, arm: str, phase: Any) -> dict[str, Any]:
    """What the setting's runs of that phase have in common, as leaves by dotted name: no seeds, nothing tuned."""
    payload = plan.request(Label(problem, arm, 0, phase, plan.given)).spec.payload
    return _comparable(payload, plan.settings[problem, arm].space)


def _comparable(payload: Mapping[str, Any], space: Iterable[str]) -> dict[str, Any]:
    leaves = dict(_leaves(payload))
    tuned = {f"problem.{name}" for name in space}
    of_a_run = ("seeds.", "prune", "fold.", "subset.", "within.turn", "source.run")
    return {name: value for name, value in leaves.items() if name not in tuned and not name.startswith(of_a_run)}


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(item) if isinstance(item, tuple) else item


@dataclass(frozen=True)
class Outside:
    """A record that no place of the plan asks for, and why."""

    record: Record
    cause: str
    """`data`, `training`, `plugin` or `suite`."""
    differs: Mapping[str, tuple[Any, Any]]
    """Leaves of the spec that differ from the nearest setting of the plan: recorded and now.

    Names begin with `source.` where they are of the run that its weights come from, which fell out itself.
    """
    nearest: tuple[str, str]
    """Problem and arm of that setting."""


def outside(plan: Plan, store: Store, walk: Walk) -> list[Outside]:
    """The records that fell out of the plan; those that wait for a missing run of their study are not among them."""
    used = {entry.run_id for entry in (*walk.sources, *walk.entries)}
    unused = [record for run_id in store.ids() if run_id not in used and (record := store.read(run_id)) is not None]
    templates = {
        (problem, arm, phase): _template(plan, problem, arm, phase)
        for problem, arm in (plan.settings if unused else ())
        for phase in ("tune", "final")
    }
    unfinished = _unfinished(plan, walk) if unused else set()
    fell = _Fallen(plan, store)
    return [found for record in unused if (found := _outside(plan, record, templates, unfinished, fell)) is not None]


class _Fallen:
    """In what source runs that the plan no longer has differ from those that it has."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._ids, self._store = plan.source_ids, store
        every = (_comparable(request.spec.payload, ()) for request in plan.sources().values())
        self._now = {digest(leaves): leaves for leaves in every}
        self._known: dict[str, dict[str, tuple[Any, Any]]] = {}

    def differences(self, run_id: str | None) -> Mapping[str, tuple[Any, Any]]:
        """Leaves that differ from the nearest source run of the plan; nothing for one that it still has."""
        if run_id is None or run_id in self._ids:
            return {}
        if run_id not in self._known:
            self._known[run_id] = self._differences(run_id)
        return self._known[run_id]

    def _differences(self, run_id: str) -> dict[str, tuple[Any, Any]]:
        record = self._store.read(run_id)
        if record is None or not self._now:
            return {"source.run": (run_id, None)}
        had = _comparable(record["spec"], ())
        found = [_differing(had, now) for now in self._now.values()]
        nearest = min(found, key=len)
        # Seeds alone: another checkpoint of the same source.
        return {f"source.{name}": pair for name, pair in nearest.items()} or {"source.run": (run_id, None)}


def _differing(had: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = sorted(had.keys() | now.keys())
    return {name: (had.get(name), now.get(name)) for name in names if had.get(name) != now.get(name)}


def _outside(plan: Plan, record: Record, templates: Any, unfinished: set[Any], fell: _Fallen) -> Outside | None:
    spec = record["spec"]
    if spec["phase"] == "source":
        return None  # of an earlier [source]; what started from it is outside too, and said
    found = []
    for (problem, arm, phase), template in templates.items():
        if phase != spec["phase"]:
            continue
        had = _comparable(spec, plan.settings[problem, arm].space)
        differs = {**_differing(had, template), **fell.differences(spec.get("source", {}).get("run"))}
        if not differs and (problem, arm, spec["seeds"]["split"]) in unfinished:
            return None
        found.append(Outside(record, _cause(differs), differs, (problem, arm)))
    return min(found, key=lambda one: len(one.differs))


def _unfinished(plan: Plan, walk: Walk) -> set[tuple[str, str, int]]:
    """Problem, arm and split seed of each replicate that misses runs."""
    tuning, compare = plan.suite.tuning, plan.suite.compare
    known = Counter((e.label.problem, e.label.arm, e.label.replicate) for e in walk.entries)
    finals = 1 + bool(tuning.trials and compare.untuned)
    found = set()
    for (problem, arm), setting in plan.settings.items():
        name = str(setting.values["dataset"]["use"])  # type: ignore[index,call-overload]
        for replicate in range(compare.replicates):
            studied = compare.claim == "method" or replicate == 0
            if known[problem, arm, replicate] < finals + studied * tuning.trials * tuning.repeats:
                seeds = run_seeds(suite=plan.suite.seed, dataset=name, replicate=replicate, phase="tune", repeat=0)
                found.add((problem, arm, seeds["split"]))
    return found


def _cause(differs: Mapping[str, tuple[Any, Any]]) -> str:
    """What a change of the source is called is called the same."""
    differs = {name.removeprefix("source."): pair for name, pair in differs.items()}
    names = set(differs)
    if any(name.startswith("metrics.") or (name.startswith("problem.") and name.endswith(".use")) for name in names):
        return "suite"
    # A part that only one of the two has was put into the suite or taken out of it.
    if any(name.startswith("parts.") and None not in pair for name, pair in differs.items()):
        return "plugin"
    if names and all(name.startswith("data.") for name in names):
        return "data"
    if names and names <= {"training", "schema"}:
        return "training"
    return "suite"


def changed(kept: Kept | None, plan: Plan) -> bool:
    """Whether the plan is another than the one that is kept (or none is)."""
    if kept is None:
        return True
    now = described(plan)
    return any(kept.get(name) != _plain(now[name]) for name in ("settings", "asked", "training", "schema", "runs"))


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))


def refusal(found: Sequence[Outside], store: Store) -> str | None:
    """Why `run` must not go on by itself: data or training changed under the records."""
    data = [one for one in found if one.cause == "data"]
    training = [one for one in found if one.cause == "training"]
    way = "go on with --rerun changed: it puts them into quarantine and does those runs again"
    if data:
        name, (before, now) = next(iter(data[0].differs.items()))
        return (
            f"the data set {_dataset(data[0], name, store)} changed since {_runs(len(data))} in {store.folder} were "
            f"recorded: its {name.rpartition('.')[2]} split was {before[:12]}, it is {now[:12]}; put the old data "
            f"back, or {way}"
        )
    if training:
        name, (before, now) = next(iter(training[0].differs.items()))
        return (
            f"{_runs(len(training))} in {store.folder} were recorded with {name} version {before}, this harness has "
            f"{now}: "
            f"results are not comparable; use the older harness, or {way}"
        )
    return None


def _dataset(one: Outside, name: str, store: Store) -> str:
    """The data set whose split it is: that of the run, or that of the source run which its weights come from."""
    spec = one.record["spec"]
    if not name.startswith("source."):
        return f"'{spec['problem']['dataset']['use']}'"
    source = store.read(spec["source"]["run"])
    assert source is not None
    return f"'{source['spec']['problem']['dataset']['use']}' of [source]"


def notices(found: Sequence[Outside], kept: Kept | None, plan: Plan) -> list[str]:
    """What `run` says when finished runs fall out of the plan although nothing is wrong: one line a cause."""
    said = []
    plugin = [one for one in found if one.cause == "plugin" and _was_current(one, kept)]
    suite = [one for one in found if one.cause == "suite"]
    if plugin:
        files = sorted({_file(plan, one) for one in plugin})
        said.append(
            f"{', '.join(files)} changed: {_runs(len(plugin))} of it are set aside and done again; old records stay"
        )
    earlier = 0 if kept is None else int(kept.get("outside") or 0)
    if kept is not None and len(found) - len(plugin) > earlier and suite:
        count = len(found) - len(plugin) - earlier
        said.append(f"the suite changed: {_first_change(kept, plan, suite)}; {_runs(count)} fell out; old records stay")
    return said


def _was_current(one: Outside, kept: Kept | None) -> bool:
    """Whether the record was made with the sources that its setting had at the last command."""
    settings = {(s["problem"], s["arm"]): s for s in (kept or {}).get("settings", ())}
    if one.nearest not in settings:
        return True
    kept_hashes = settings[one.nearest]
    before = {name.removesuffix(".sha256"): old for name, (old, _) in one.differs.items() if name.endswith(".sha256")}
    hashes = {f"parts.{kind}": old for kind, old in kept_hashes.get("plugins", {}).items()}
    hashes |= {f"source.parts.{kind}": old for kind, old in kept_hashes.get("source_plugins", {}).items()}
    return all(hashes.get(part, hashes.get(part.removeprefix("source."))) == old for part, old in before.items())


def _file(plan: Plan, one: Outside) -> str:
    """The source of a part that changed, as short as it can be said."""
    own = {f"parts.{kind}": origin for kind, origin in _origins(plan, *one.nearest).items()}
    source = plan.settings[one.nearest].source
    own |= {f"source.parts.{kind}": origin for kind, origin in (source.origins if source else {}).items()}
    changed = (name for name, pair in one.differs.items() if name.startswith(_PARTS) and None not in pair)
    part = min(changed).rpartition(".")[0]
    origin = own.get(part) or own.get(part.removeprefix("source."))
    if origin is None:
        return part.rpartition("parts.")[2]
    path = Path(origin.file)
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name


def _first_change(kept: Kept, plan: Plan, found: Sequence[Outside]) -> str:
    """The first key that differs, with both values."""
    before = {(s["problem"], s["arm"]): s for s in kept.get("settings", ())}
    now = {(s["problem"], s["arm"]): s for s in _plain(described(plan)["settings"])}
    for key in before.keys() & now.keys():
        for part in ("values", "space", "source"):
            old, new = (dict(_leaves(one[key].get(part, {}))) for one in (before, now))
            for name in sorted(old.keys() | new.keys(), key=_parts_first):
                if old.get(name) != new.get(name):
                    name_of = f"source.{name}" if part == "source" else name
                    return f"{name_of} was {_show(old.get(name))}, it is {_show(new.get(name))}"
    asked, asks = kept.get("asked", {}), _plain(described(plan)["asked"])
    for name in asks:
        if name in asked and asked[name] != asks[name]:
            return f"{name} was {_show(asked[name])}, it is {_show(asks[name])}"
    if gone := [arm for problem, arm in before if (problem, arm) not in now]:
        return f"arm '{gone[0]}' is gone"
    for name, (old, new) in next((one.differs for one in found if one.differs), {}).items():
        return f"{name} was {_show(old)}, it is {_show(new)}"
    return "what the runs were asked for"


def _parts_first(name: str) -> tuple[bool, str]:
    """A part before options, which change with it."""
    return not name.endswith(".use"), name


def _show(value: Any) -> str:
    return "not there" if value is None else repr(value) if isinstance(value, str) else str(value)


def _runs(count: int) -> str:
    return f"{count} finished run{'s' if count != 1 else ''}"
