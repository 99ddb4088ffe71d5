"""The tables of the two READMEs out of benches/results/peers.json, which `compare.py --json` writes.

    python table.py            # prints the long table
    python table.py --write    # puts the short one into README.md and the long one into benches/peers/README.md
    python table.py --check    # fails where either does not hold what the JSON gives
"""

import argparse
import json
import statistics
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benches/results/peers.json"
BEGIN, END = "<!-- peers -->", "<!-- /peers -->"
SCHEMA = 1
# Cores that others may use during a run on a machine that counts as idle.
IDLE = 0.1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    results = read(RESULTS)
    if not options.write and not options.check:
        print(long(results))
    for path, make in DOCUMENTS.items():
        text = path.read_text(encoding="utf-8")
        right = between(text, make(results), path)
        if options.write:
            path.write_text(right, encoding="utf-8")
        elif options.check and right != text:
            raise SystemExit(f"{path.name} does not hold the table of {RESULTS.name}: run {Path(__file__).name} --write")


def read(path: Path) -> dict:
    results = json.loads(path.read_text(encoding="utf-8"))
    if results.get("schema") != SCHEMA:
        raise SystemExit(f"{path} has schema {results.get('schema')}, expected {SCHEMA}: run `make bench-peers` again")
    return results


def between(text: str, content: str, path: Path) -> str:
    """The text with what stands between its marks replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} lacks the marks {BEGIN} and {END} around its table")
    return f"{before}{begin}\n{content}\n{end}{after}"


def tools(results: dict) -> list[dict]:
    """One entry a tool, in the order they ran: its first row, and its rates and ratios over the repeats."""
    rates = {}
    for row in results["rows"]:
        rates.setdefault(row["name"], []).append(row["triplets_per_second"])
    ours = rates["alike"]
    return [row | {"rates": rates[row["name"]],
                   "ratios": [a / b for a, b in zip(ours, rates[row["name"]], strict=True)]}
            for row in results["rows"] if row["repeat"] == 0]


def long(results: dict) -> str:
    """Every tool with everything that was measured, under what it holds for."""
    heads = ["tool", "weights", "at a time", "tokens/triplet", "triplets/s", "least–most", "alike ÷ it", "load s",
             "peak MB", "max nats", "mean nats", "other choices"]
    lines = []
    for tool in tools(results):
        rates, same = tool["rates"], tool["name"] == "alike"
        lines.append([
            tool["name"], tool["weights"], tool.get("batch_size", ""), tool.get("tokens_per_triplet", ""),
            f"{statistics.median(rates):.1f}", f"{min(rates):.1f}–{max(rates):.1f}",
            "" if same else f"{statistics.median(tool['ratios']):.2f}", f"{tool['load_seconds']:.1f}",
            tool["peak_rss_mb"],
            *(["", "", ""] if same else
              [f"{tool['max_nats']:.1e}", f"{tool['mean_nats']:.1e}", tool["other_choices"]])])
    return f"{conditions(results)}\n\n{markdown(heads, lines)}\n\n{versions(results)}\n\n{left_out(results)}"


def short(results: dict) -> str:
    """Speed and agreement of every tool."""
    heads = ["program", "weights", "triplets/s", "alike ÷ it", "largest difference of ln p", "other choices"]
    lines = []
    for tool in tools(results):
        rates, same = statistics.median(tool["rates"]), tool["name"] == "alike"
        lines.append([tool["name"], tool["weights"], f"{rates:.1f}", *(["", "", ""] if same else [
            f"{statistics.median(tool['ratios']):.2f}", f"{tool['max_nats']:.1e} nats", tool["other_choices"]])])
    return f"{conditions(results)}\n\n{markdown(heads, lines)}"


def conditions(results: dict) -> str:
    """What the numbers hold for, and the command that makes them again."""
    machine, compared = results["machine"], results["rows"][0]["compared"]
    others = max(row.get("others_cores") or 0 for row in results["rows"])
    quiet = (f"nothing else running (others used {others:.2f} cores at most during a run)" if others <= IDLE else
             f"**not an idle machine**: others used up to {others:.2f} of its cores during a run")
    differing = "" if compared == results["n_triplets"] else (
        f" Differences are over the {compared} triplets of which no option begins the other: alike closes those that do.")
    where = "" if results["provider"] == "cpu" else f" Provider {results['provider']}."
    return (f"{results['n_triplets']} random triplets of the 128 concepts, {results['model']}, {results['threads']} threads, "
            f"{results['n_repeats']} interleaved repeats (medians; the ratio within a repeat); {quiet}. "
            f"{machine['cpu']}, {machine['cores']} cores, {results['date']}.{where}{differing} "
            f"`make bench-peers N={results['n_triplets']} REPEATS={results['n_repeats']} THREADS={results['threads']}`:")


def versions(results: dict) -> str:
    return "Versions: " + ", ".join(f"{name} {version}" for name, version in results["versions"].items()) + "."


def left_out(results: dict) -> str:
    return "\n".join(f"- {tool['name']}: {tool['why']}" for tool in results["left_out"])


def markdown(heads: list, lines: list[list]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


DOCUMENTS = {ROOT / "README.md": short, ROOT / "benches/peers/README.md": long}


if __name__ == "__main__":
    main()
