"""The paper's models on this machine: exports what memory can hold, and says what it leaves out."""

import csv
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import ExportError

# `src/suite/precision.rs` has the same rule and its reasons; a test compares the two on every model of the suite.
BYTES_PER_WEIGHT = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "int8": 1.0 + 4 / 32, "int4": 0.5 + 4 / 32}


@dataclass(frozen=True)
class SuiteModel:
    """One model of a family's file, with its row of the table of ingredients."""

    label: str
    hub: str
    style: str
    chat_template: Path | None  # for a checkpoint that ships none
    remote_code: bool
    avoid: frozenset[str]  # precisions in which it goes wrong
    params_b: float
    vocab_size: int
    hidden_size: int

    def needed_gb(self, precision: str) -> float:
        """Memory it takes, in GB of 10⁹ bytes."""
        in_fp32 = 2 * 4 * self.vocab_size * self.hidden_size / 1e9 if precision.startswith("int") else 0.0
        return self.params_b * BYTES_PER_WEIGHT[precision] * 1.15 + in_fp32 + 1.0

    def best(self, memory_gb: float) -> str | None:
        """The most exact precision that fits and does not go wrong."""
        sound = (precision for precision in BYTES_PER_WEIGHT if precision not in self.avoid)
        return next((precision for precision in sound if self.needed_gb(precision) <= memory_gb), None)


def read_family(file: Path) -> list[SuiteModel]:
    """The models of a family's file. `alike check --suite` says all that is wrong with one; here the first fault ends it."""
    try:
        family = tomllib.loads(file.read_text(encoding="utf-8"))
        with open(file.parent / family["ingredients"], encoding="utf-8", newline="") as table:
            rows = {row["model"]: row for row in csv.DictReader(table)}
        return [_model(file, entry, rows, family.get("faults", {})) for entry in family["models"]]
    except (tomllib.TOMLDecodeError, KeyError, ValueError) as error:
        raise ExportError(f"{file}: {type(error).__name__} {error}; `alike check --suite {file.parent}` says more") from error


def export_suite(file: Path, out: Path, memory_gb: float,
                 export_one: Callable[[SuiteModel, Path, str], None]) -> None:
    """Exports every model of a family's file into `out`/LABEL, in the most exact precision that fits `memory_gb`.

    `export_one(model, folder, precision)` makes one folder. What is too large, and what is there already, is passed over;
    what fails does not keep the others back, and is named at the end.
    """
    models = read_family(file)
    skipped, failed = [], []
    for number, model in enumerate(models, 1):
        folder, precision = out / model.label, model.best(memory_gb)
        place = f"[{number}/{len(models)}] {model.label}"
        if precision is None:
            smallest = min(model.needed_gb(p) for p in BYTES_PER_WEIGHT if p not in model.avoid)
            skipped.append(model.label)
            _say(f"{place}: needs {smallest:.1f} GB at least, {memory_gb:g} GB are given: skipped")
        elif folder.exists():
            skipped.append(model.label)
            _say(f"{place}: {folder} exists already: skipped")
        else:
            _say(f"{place}: {model.hub} as {precision}, {model.needed_gb(precision):.1f} of {memory_gb:g} GB")
            try:
                export_one(model, folder, precision)
            except (ExportError, OSError) as error:
                failed.append(model.label)
                _say(f"{place}: {error}")
    done = len(models) - len(skipped) - len(failed)
    _say(f"{done} exported, {len(skipped)} skipped, {len(failed)} failed")
    if failed:
        raise ExportError(f"not exported: {', '.join(failed)}")


def _model(file, entry, rows, faults):
    row = rows[entry.get("row", entry["label"])]
    template = entry.get("chat_template")
    return SuiteModel(
        label=entry["label"], hub=entry["hub"], style=entry["style"],
        chat_template=file.parent / template if template else None,
        remote_code=entry.get("remote_code", False),
        avoid=frozenset(p for name in entry.get("faults", []) for p in faults[name].get("avoid", [])),
        params_b=float(row["params_b"]), vocab_size=int(row["vocab_size"]), hidden_size=int(row["hidden_size"]))


def _say(line):
    print(line, file=sys.stderr, flush=True)
