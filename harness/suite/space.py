"""What tuning searches: what the parts of a setting declare, less what the suite fixes, with [tuning.space] on top."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.hookspecs import Choice, Domain, Float, Int
from harness.registry.catalog import PartInfo, few_names, nearest
from harness.suite import declaration, schema
from harness.suite.parts import (
    Chosen,
    as_type,
    check_scale,
    did_you_mean,
    fits,
    has_option,
    in_words,
    option_type,
    takes,
)
from harness.suite.source import Reading, subject, toml_type
from harness.suite.tables import KEY
from harness.toml.scan import Path

SPACE: Path = ("tuning", "space")
_SEARCHED = (*schema.PART_KEYS, "regularisation")
"""Keys of [problem] whose options may be searched."""
_OF_STEPS = frozenset({"optimizer", "schedule", "regularisation", "batch_size"})
"""Keys that say how steps are taken: nothing of them is searched for a strategy that takes none."""


@dataclass(frozen=True)
class Wanted:
    """One entry of [tuning.space]."""

    kind: str | None
    """None for a bare name."""
    option: str
    path: Path

    @property
    def name(self) -> str:
        """As messages call it."""
        return f"{self.kind}.{self.option}" if self.kind else self.option


def takes_no_steps(strategy: PartInfo) -> bool:
    """Whether the strategy fits its head to the optimum, so that no arm of it is matched in steps."""
    return "exact" in strategy.extra.get("hooks", ())


class Space:
    """[tuning.space] as it applies to one setting after the other."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.wanted = [one for one in _entries(reading) if _check_form(reading, one.path)]
        self._seen: dict[Wanted, str] = {}
        self._domains: dict[tuple[Wanted, str, str], Domain | None] = {}
        self._known: dict[str, None] = dict.fromkeys(schema.TUNABLE_KEYS)

    def of(self, parts: Mapping[str, Chosen], keys: Mapping[str, Path]) -> dict[str, Domain]:
        """The domains of one setting by dotted name; `keys` are the paths of its values that are no parts."""
        space: dict[str, Domain] = {}
        steps = not takes_no_steps(parts["strategy"].info)
        searched = {kind: part for kind, part in parts.items() if steps or kind not in _OF_STEPS}
        for kind, part in searched.items():
            self._known |= dict.fromkeys([*part.info.options, *part.info.space, *part.info.required])
            space |= {f"{kind}.{name}": domain for name, domain in part.info.space.items() if name not in part.fixed}
        for wanted in self.wanted:
            if steps or wanted.option not in _OF_STEPS:
                self._apply(wanted, searched, keys, space)
        return space

    def check_used(self) -> None:
        """Refuse the entries that no setting has a use for."""
        for wanted in self.wanted:
            seen = self._seen.get(wanted)
            if seen == "fixed":
                message = f"applies to no arm: every arm that takes '{wanted.name}' fixes it"
                cure = "leave it out of the arms or out of the space"
                self.reading.refuse(wanted.path, "conflict", message, help=cure)
            elif seen is None:
                self._refuse_unknown(wanted)

    def _refuse_unknown(self, wanted: Wanted) -> None:
        reading, known = self.reading, sorted(self._known)
        place = reading.source.key(wanted.path)
        message = f"[tuning.space]: no arm has an option '{wanted.name}'"
        cure = did_you_mean(wanted.option, known)
        reading.add("unknown-key", message, place, allowed=few_names(wanted.option, known), help=cure)

    def _apply(
        self, wanted: Wanted, parts: Mapping[str, Chosen], keys: Mapping[str, Path], space: dict[str, Domain]
    ) -> None:
        target = self._locate(wanted, parts)
        if target is None:
            return
        kind, option = target
        part = parts.get(kind)
        fixed_at = part.fixed.get(option) if part else keys.get(option)
        # A value in [problem] is where tuning starts from; one in an arm or a problem is what makes it.
        if fixed_at and fixed_at[0] != "problem":
            self._seen.setdefault(wanted, "fixed")
            return
        self._seen[wanted] = "applied"
        if part and part.info.extra.get("watches") == option:
            why, cure = "the metric that a schedule follows cannot be tuned", f"make it an axis: [arms] {kind} = [...]"
            self.reading.refuse(wanted.path, "not-tunable", why, help=cure)
            return
        domain = self._domain(wanted, part.info if part else None, option)
        if domain is not None:
            space[f"{kind}.{option}" if part else option] = domain

    def _locate(self, wanted: Wanted, parts: Mapping[str, Chosen]) -> tuple[str, str] | None:
        """Kind (empty for a key of the problem) and option that the entry means in this setting."""
        if wanted.kind:
            part = parts.get(wanted.kind)
            there = part is not None and (has_option(part.info, wanted.option) or part.info.open)
            return (wanted.kind, wanted.option) if there else None
        kinds = [kind for kind, part in parts.items() if has_option(part.info, wanted.option)]
        if len(kinds) > 1:
            self._refuse_ambiguous(wanted, kinds)
            return None
        if kinds:
            return kinds[0], wanted.option
        return ("", wanted.option) if wanted.option in schema.TUNABLE_KEYS else None

    def _refuse_ambiguous(self, wanted: Wanted, kinds: list[str]) -> None:
        self._seen[wanted] = "ambiguous"
        ways = ", ".join(f"{kind}.{wanted.option}" for kind in kinds)
        message = f"[tuning.space]: '{wanted.option}' is an option of {' and '.join(kinds)}"
        self.reading.add(
            "ambiguous-name", message, self.reading.source.key(wanted.path), allowed=ways, help="write the dotted form"
        )

    def _domain(self, wanted: Wanted, info: PartInfo | None, option: str) -> Domain | None:
        key = (wanted, info.kind if info else "", info.name if info else "")
        if key not in self._domains:
            self._domains[key] = _domain(self.reading, wanted.path, info, option)
        return self._domains[key]


# Entries --------------------------------------------------------------------------------------------------------------


def _entries(reading: Reading) -> list[Wanted]:
    table = reading.get(SPACE, {})
    found = []
    for key in table if isinstance(table, dict) else ():
        path: Path = (*SPACE, key)
        kind, _, option = key.partition(".")
        if key in _SEARCHED and isinstance(table[key], dict) and not {"low", "high"} & set(table[key]):
            found += [Wanted(key, name, (*path, name)) for name in table[key]]
        elif key in _SEARCHED or kind in schema.PARTS_KEYS:
            reading.refuse(path, "not-tunable", _why_not(kind), help=f"make it an axis: [arms] {kind} = [...]")
        elif kind in _SEARCHED and option:
            found.append(Wanted(kind, option, path))
        else:
            found.append(Wanted(None, key, path))
    return [one for one in found if _tunable(reading, one)]


def _why_not(key: str) -> str:
    """Why the value of the key itself cannot be searched."""
    if key in schema.TABLE_KEYS:
        return f"'{key}' cannot be tuned, only its numbers"
    return "a part cannot be tuned, " + (
        "and neither can its options" if key in schema.PARTS_KEYS else "only its options"
    )


def _tunable(reading: Reading, wanted: Wanted) -> bool:
    if wanted.kind or wanted.option in schema.TUNABLE_KEYS or wanted.option not in schema.Problem.model_fields:
        return True
    if wanted.option in schema.BUDGET_KEYS:
        message = f"'{wanted.option}' cannot be tuned: budgets are equal by construction"
    else:
        message = f"'{wanted.option}' cannot be tuned"
    allowed = f"options of parts, {', '.join(schema.TUNABLE_KEYS)}"
    reading.refuse(wanted.path, "not-tunable", message, allowed=allowed)
    return False


# Form, whatever the part ----------------------------------------------------------------------------------------------


def _check_form(reading: Reading, path: Path) -> bool:
    value = reading.source.at(path)
    if not reading.sound(path) or any(path == other[: len(path)] for other in reading.broken):
        return False
    if isinstance(value, list):
        return _check_choices(reading, path, value)
    if isinstance(value, dict):
        return _check_range(reading, path, value)
    cure = f"write {path[-1]} = [{reading.source.written(path)}, ...]"
    allowed = "[value, ...] or {low = number, high = number, log = true or false}"
    message = f"a list or a range is due, found {reading.source.found(path)}"
    reading.refuse(path, "wrong-type", message, allowed=allowed, help=cure)
    return False


def _check_choices(reading: Reading, path: Path, values: list[Any]) -> bool:
    for index, value in enumerate(values):
        at: Path = (*path, index)
        if isinstance(value, dict | list):
            reading.refuse(at, "wrong-type", f"a plain value is due, found {reading.source.found(at)}")
            continue
        same = [one for one in range(index) if values[one] == value and _family(values[one]) == _family(value)]
        if same:
            positions = f"(positions {same[0] + 1}, {index + 1})"
            reading.refuse(at, "doubled-value", f"doubled value {reading.source.written(at)} {positions}")
    return all(reading.sound((*path, index)) for index in range(len(values)))


def _family(value: Any) -> str:
    return "number" if type(value) in (int, float) else toml_type(value)


def _check_range(reading: Reading, path: Path, table: dict[str, Any]) -> bool:
    keys = ("low", "high", "log")
    unknown = [key for key in table if key not in keys]
    for key in unknown:
        absent = [other for other in keys if other not in table]
        cure = did_you_mean(key, absent) or did_you_mean(key, keys)
        message = f"unknown key '{key}' in the range '{path[-1]}'"
        reading.add("unknown-key", message, reading.source.key((*path, key)), allowed="low, high, log", help=cure)
    for key in ("low", "high"):
        if key not in table and not any(nearest(other, [key]) for other in unknown):
            message = f"the range '{path[-1]}' lacks the key '{key}'"
            reading.add("missing-key", message, reading.source.value(path), allowed="low, high, log")
    for key in keys:
        kind, due = ("boolean", "true or false") if key == "log" else ("number", "a number")
        if key in table and _family(table[key]) != kind:
            message = f"{due} is due, found {reading.source.found((*path, key))}"
            reading.refuse((*path, key), "wrong-type", message, allowed=due)
    sound = all(reading.sound((*path, key)) for key in keys)
    return bool(sound and not unknown and {"low", "high"} <= set(table) and _check_bounds(reading, path, table))


def _check_bounds(reading: Reading, path: Path, table: dict[str, Any]) -> bool:
    low, high = table["low"], table["high"]
    places = reading.source.value((*path, "low")), reading.source.value((*path, "high"), "high")
    who, written = subject(path, reading.source), reading.source.written
    if not low < high:
        found = f"low = {written((*path, 'low'))}, high = {written((*path, 'high'))}"
        cure = "leave it out of the space and give the value in [problem]" if low == high else ""
        reading.add("out-of-range", f"{who}: low must be below high, found {found}", *places, help=cure)
    elif table.get("log") and low <= 0:
        message = f"{who}: low must be above 0 on a log scale, found low = {written((*path, 'low'))}"
        reading.add("out-of-range", message, places[0], allowed="low > 0", help="take a small number, such as 1e-5")
    else:
        return True
    return False


# Domains, as the part takes them --------------------------------------------------------------------------------------


def _domain(reading: Reading, path: Path, info: PartInfo | None, option: str) -> Domain | None:
    """The entry as a domain of the option's type; None with a mistake where the option does not take it."""
    value = reading.source.at(path)
    kind = option_type(info, option) if info else int
    who = f"{info.kind} '{info.name}' takes" if info else f"'{option}' is"
    declared = info.space.get(option) if info else None
    hint = f"{who} {_due(kind)}" + (f"; declared {in_words(declared)}" if declared is not None else "")
    if isinstance(value, list):
        return _choices(reading, path, info, option, hint)
    bounds = {key: value[key] for key in ("low", "high")}
    if kind not in (None, int, float, complex):
        message = f"a range has no meaning here: {hint}"
        reading.refuse(path, "wrong-type", message, allowed="a list of values")
        return None
    whole = all(type(bound) is int for bound in bounds.values())
    if kind is int and not whole:
        odd = next(key for key, bound in bounds.items() if type(bound) is not int)
        message = f"expected an integer, found {reading.source.found((*path, odd))}"
        reading.refuse((*path, odd), "wrong-type", message, allowed=hint)
        return None
    ends: list[Path] = [(*path, key) for key in bounds]
    sound = [_check_size(reading, info, option, end) and _check_end(reading, info, option, end) for end in ends]
    if not all(sound):
        return None
    log = bool(value.get("log", False))
    default = info.options.get(option) if info else 0
    if kind is int or (kind is complex and whole and type(default) is int):
        return Int(bounds["low"], bounds["high"], log=log)
    return Float(float(bounds["low"]), float(bounds["high"]), log=log)


def _choices(reading: Reading, path: Path, info: PartInfo | None, option: str, hint: str) -> Domain | None:
    kind = option_type(info, option) if info else int
    found = reading.source.at(path)
    if not found:
        reading.refuse(path, "empty", "the list of choices is empty", allowed=hint)
        return None
    due = _due(kind) if kind else Counter(map(_family, found)).most_common(1)[0][0]
    for index, value in enumerate(found):
        item: Path = (*path, index)
        if not (_is_choice(info, option, value) if kind else _family(value) == due):
            message = f"{hint}, found {reading.source.found(item)}" if kind else f"choices of mixed type: {due}s and "
            reading.refuse(item, "wrong-type", message if kind else message + reading.source.found(item), allowed=due)
        elif _check_size(reading, info, option, item) and info:
            check_scale(reading, info, option, item)
    if not all(reading.sound((*path, index)) for index in range(len(found))):
        return None
    return Choice(*(as_type(value, kind) for value in found))  # type: ignore[arg-type]


def _is_choice(info: PartInfo | None, option: str, value: Any) -> bool:
    return fits(value, int) if info is None else takes(info, option, value)


def _check_size(reading: Reading, info: PartInfo | None, option: str, at: Path) -> bool:
    """A key of the problem must be 1 or more, one of its tables 0 or more; parts have rules of their own."""
    of_part, least = info is not None and info.kind != KEY, 1 if info is None else 0
    if of_part or reading.source.at(at) >= least:
        return True
    allowed = declaration.allowed(("problem", option) if info is None else ("problem", info.name, option))
    reading.refuse(at, "out-of-range", f"{reading.source.found(at)} is out of range", allowed=allowed)
    return False


def _check_end(reading: Reading, info: PartInfo | None, option: str, at: Path) -> bool:
    """An end of a range is one of its values, and must be one that the part takes."""
    return info is None or check_scale(reading, info, option, at)


def _due(kind: type | None) -> str:
    words = {bool: "true or false", int: "an integer", float: "a number", complex: "a number", str: "text"}
    return words.get(kind or type(None), "plain values")
