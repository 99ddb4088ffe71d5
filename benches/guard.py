"""Counts the instructions of each kernel of benches/kernels.rs and says what became worse since the last committed counts.

    python benches/guard.py [--strict] [--kernels plan,score] [--out DIR]     # valgrind counts; writes kernels-DATE.json
    python benches/guard.py --compare BEFORE.json AFTER.json [--strict]       # two files of such counts

A kernel's count is the mean of 4 calls after a first one, start and set-up left out. Counts hardly vary where times do, so a small change can be seen on a busy machine; but they are not
times (a cache miss counts nothing), and another compiler, processor or C library may count otherwise, which is said.
"""

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("benches/results")
SCHEMA = 1
TOLERANCE = 0.03
TIMES = 4
# What may change the counts without a change of ours, and for which counts can never be compared.
SURROUNDINGS = ("rustc", "cpu_features", "libc", "valgrind")


@dataclass(frozen=True)
class Change:
    """A kernel's instructions before and after; None where it was not counted."""

    kernel: str
    before: float | None
    after: float | None

    @property
    def ratio(self) -> float | None:
        return self.after / self.before if self.before and self.after else None

    @property
    def verdict(self) -> str:
        if self.ratio is None:
            return "new" if self.after else "gone"
        if self.ratio > 1 + TOLERANCE:
            return "worse"
        return "better" if self.ratio < 1 - TOLERANCE else "same"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strict", action="store_true", help="exit code 1 when a kernel became worse")
    parser.add_argument("--kernels", type=lambda text: text.split(","), help="only these (nothing is written)")
    parser.add_argument("--out", type=Path, default=ROOT / RESULTS, metavar="DIR")
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("BEFORE", "AFTER"))
    options = parser.parse_args()
    if options.compare:
        name, before = options.compare[0].name, read(options.compare[0].read_text(), options.compare[0])
        after = read(options.compare[1].read_text(), options.compare[1])
        if before["arch"] != after["arch"]:
            raise SystemExit(f"{name} counts {before['arch']}, the other file {after['arch']}: nothing to compare")
    else:
        if not shutil.which("valgrind"):
            print("instruction counts: skipped, for they need valgrind")
            return
        after = counted(build(), options.kernels)
        # Read before the new file is written, which may have the same name.
        name, before = last_committed(after["arch"])
        if not options.kernels:
            path = options.out / f"kernels-{after['date']}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(after, indent=1) + "\n")
            print(f"{path}: {len(after['kernels'])} kernels")
    if before is None:
        print(f"no counts of {after['arch']} are committed yet: nothing to compare with")
        return
    changes = compare(before, after)
    if not options.compare and options.kernels:
        changes = [change for change in changes if change.kernel in options.kernels]
    print(report(name, before, after, changes))
    if options.strict and any(change.verdict == "worse" for change in changes):
        raise SystemExit(1)


def compare(before: dict, after: dict) -> list[Change]:
    """Every kernel of either, in the order of the later one."""
    names = [*after["kernels"], *(name for name in before["kernels"] if name not in after["kernels"])]
    return [Change(name, before["kernels"].get(name), after["kernels"].get(name)) for name in names]


def report(name: str, before: dict, after: dict, changes: list[Change]) -> str:
    """What changed since `name`, in words: surroundings, then kernels, then the conclusion."""
    lines = [f"since {name} (alike {before['alike']}, {before['date']}):"]
    lines += [f"  note: {what} was {told(before.get(what))}, is {told(after.get(what))}"
              for what in SURROUNDINGS if before.get(what) != after.get(what)]
    for change in changes:
        counts = "  ".join(f"{count:>14,.0f}" if count else f"{'–':>14}" for count in (change.before, change.after))
        percent = f"{100 * (change.ratio - 1):+7.2f} %" if change.ratio else f"{'':9}"
        verdict = "" if change.verdict == "same" else f"  {change.verdict}"
        lines.append(f"  {change.kernel:<28}{counts}  {percent}{verdict}".rstrip())
    worse, better = ([c.kernel for c in changes if c.verdict == verdict] for verdict in ("worse", "better"))
    if worse:
        lines.append(f"warning: more than {TOLERANCE:.0%} more instructions: {', '.join(worse)}")
    if better:
        lines.append(f"more than {TOLERANCE:.0%} fewer instructions: {', '.join(better)}")
    if not worse and not better:
        lines.append(f"every kernel within {TOLERANCE:.0%}")
    return "\n".join(lines)


def told(value) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


def read(text: str, path) -> dict:
    """Counts as `counted` makes them."""
    try:
        counts = json.loads(text)
        if counts["schema"] != SCHEMA:
            raise SystemExit(f"{path} has schema {counts['schema']}, expected {SCHEMA}: count again with `make bench`")
        wrong = [name for name, count in counts["kernels"].items() if not isinstance(count, (int, float)) or count <= 0]
        counts["arch"], counts["alike"], counts["date"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SystemExit(f"{path} does not hold counts of kernels ({error!r}): count again with `make bench`") from None
    if wrong:
        raise SystemExit(f"{path} has no positive count for {', '.join(wrong)}: count again with `make bench`")
    return counts


def last_committed(arch: str) -> tuple[str | None, dict | None]:
    """Name and content of the newest committed counts of an architecture."""
    git = ["git", "-C", str(ROOT)]
    names = said(*git, "ls-tree", "--name-only", "HEAD", f"{RESULTS.as_posix()}/").splitlines()
    for path in sorted((name for name in names if Path(name).match("kernels-*.json")), reverse=True):
        counts = read(said(*git, "show", f"HEAD:{path}"), path)
        if counts["arch"] == arch:
            return Path(path).name, counts
    return None, None


def build() -> Path:
    """The program with the kernels."""
    command = ["cargo", "bench", "--locked", "--bench", "kernels", "--no-run", "--message-format", "json"]
    messages = [json.loads(line) for line in said(*command, cwd=ROOT).splitlines()]
    return next(Path(message["executable"]) for message in messages
                if message["reason"] == "compiler-artifact" and message["target"]["name"] == "kernels")


def counted(program: Path, kernels: list[str] | None) -> dict:
    known = said(program, "--list").split()
    unknown = set(kernels or []) - set(known)
    if unknown:
        raise SystemExit(f"no kernel is called {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    counts = {}
    for name in known if kernels is None else kernels:
        counts[name] = instructions(program, "--kernel", name, "--times", str(TIMES)) / TIMES
        print(f"  {name:<28}{counts[name]:>14,.0f}", file=sys.stderr, flush=True)
    return {
        "schema": SCHEMA, "date": time.strftime("%Y-%m-%d"), "alike": version(), "arch": platform.machine(),
        "rustc": said("rustc", "--version").strip(), "libc": " ".join(platform.libc_ver()),
        "valgrind": said("valgrind", "--version").strip(),
        # As the program sees it there: valgrind's processor lacks what valgrind does not know.
        "cpu_features": said("valgrind", "--quiet", program, "--cpu").split(),
        "kernels": counts,
    }


def instructions(program: Path, *arguments: str) -> int:
    """Those that a run executes in `kernels::counted`, which does everything on its own thread."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        # The same few variables everywhere: their length moves the stack, and with it what copies of it cost.
        surroundings = {"PATH": "/usr/bin:/bin", "RAYON_NUM_THREADS": "1", "TMPDIR": folder}
        said(shutil.which("valgrind"), "--tool=callgrind", "--toggle-collect=kernels::counted*",
             f"--callgrind-out-file={out}", program, *arguments, env=surroundings)
        total = re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE)
    if not total or total[1] == "0":
        raise SystemExit(f"valgrind counted nothing in kernels::counted of {program.name} {' '.join(arguments)}")
    return int(total[1])


def version() -> str:
    return re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]


def said(*command, **how) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **how)
    if done.returncode != 0:
        words = "\n".join(done.stderr.splitlines()[-8:])
        raise SystemExit(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{words}")
    return done.stdout


if __name__ == "__main__":
    main()
