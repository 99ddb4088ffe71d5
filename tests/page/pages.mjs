// The pages that are looked at: the demo's, the paper's, one of 75 respondents, one of names that try to get out.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const alike = join(root, 'target/release/alike');

/** What the page of the study that `make demo` runs has, and three that are made here under `folder`. */
export function makePages(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return [
    { name: 'demo', out: join(root, 'out/demo'), hasMaps: true },
    { name: 'paper', out: paper(folder), hasMaps: false },
    { name: 'many', out: many(folder), hasMaps: true },
    { name: 'hostile', out: hostile(folder), hasMaps: true },
  ];
}

function run(folder, ...args) {
  execFileSync(alike, ['--quiet', ...args], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
}

/** `alike regress` alone, which writes where it is run. */
function paper(folder) {
  run(folder, 'regress', join(root, 'data/studies/paper.toml'));
  run(folder, 'report', 'out/paper');
  return join(folder, 'out/paper');
}

/** 75 respondents from nearly the reference to nearly a coin, with curves and with records of runs that never were. */
function many(folder) {
  const labels = Array.from({ length: 75 }, (_, i) => `family-${'abcde'[i % 5]}-model-${String(i).padStart(2, '0')}-instruct`);
  const concepts = readFileSync(join(root, 'data/concepts/things128.csv'), 'utf8').split('\n');
  // Every fifth concept: all categories stay.
  writeFileSync(join(folder, 'concepts.csv'), concepts.filter((_, i) => i === 0 || i % 5 === 1).join('\n'));
  const subjects = labels.map((label, i) =>
    `[[simulated]]\nlabel = "${label}"\nresponse = "logistic"\nagreement = ${(0.98 - 0.006 * i).toFixed(3)}\n`);
  writeFileSync(join(folder, 'many.toml'), `
[study]
name = "many"
[concepts]
path = "concepts.csv"
[triplets]
n = 600
counterbalance = true
${subjects.join('')}
[embed]
loss = ["crowd-kernel"]
dims = 2
[align]
measures = ["procrustes_r2"]
permutations = 99
[report]
title = "Seventy-five respondents"
`);
  run(folder, 'run', 'many.toml');
  const out = join(folder, 'out/many');
  for (const label of labels.slice(0, 10)) {
    run(folder, 'learning-curve', `${out}/judgments/respondent=${label}`, '--concepts', 'concepts.csv', '--reference', 'category',
      '--loss', 'crowd-kernel', '--dims', '2', '--repeats', '2', '--out', `${out}/learning_curves/${label}.parquet`);
  }
  mkdirSync(join(out, 'runs'));
  labels.forEach((label, i) => writeFileSync(join(out, `runs/${label}.json`), JSON.stringify({
    made: 1200, seconds: 40 + i, load_seconds: 2 + (i % 7), self_test_seconds: 1, judge_seconds: 30 + i, session_seconds: 20 + i,
    triplets_per_second: 1200 / (30 + i), tokens_computed: 25000, tokens_logical: 110000, provider: 'nowhere',
  })));
  run(folder, 'report', out);
  return out;
}

/** What a concept, a category, a title, a label or a file may be called; a NUL no concept list may hold. */
export const NASTY = [
  `<script>window.ran = 1</script>`,
  `"><img src=x onerror="window.ran = 1">`,
  `'); window.ran = 1; ('`,
  `</style></title></text></svg><script>window.ran = 1</script>`,
  `\u202ethgir ot tfel`,
  `\u2067both ways\u2066`,
  `]]><!--`,
  `{{ title }}{% raw %}`,
  `&amp;&lt;&#60;`,
  'x'.repeat(300),
  '木'.repeat(120),
  'so\u0301 mu\u0308ch',
];

function hostile(folder) {
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const rows = NASTY.map((name, i) => `${quoted(name)},${quoted(NASTY[i % 4])}`);
  writeFileSync(join(folder, 'hostile.csv'), ['concept,category', ...rows, 'cat,animal', 'dog,animal'].join('\n'));
  const coordinates = [...NASTY, 'cat', 'dog'].map((name, i) => `${quoted(name)},${Math.sin(i)},${Math.cos(3 * i)}`);
  const reference = `"><img src=x onerror=alert(1)>.csv`;
  writeFileSync(join(folder, reference), ['concept,d00,d01', ...coordinates].join('\n'));
  writeFileSync(join(folder, 'hostile.toml'), `
[study]
name = "hostile"
[concepts]
path = "hostile.csv"
[triplets]
n = 400
[[simulated]]
label = "${'very-long-'.repeat(11)}label"
response = "noise-free"
[[simulated]]
label = "coin"
response = "coin-flip"
[embed]
dims = 2
[align]
reference = ${JSON.stringify(reference)}
permutations = 99
[report]
title = "\\u0000 ${NASTY[0]} ${NASTY[4]}"
`);
  run(folder, 'run', 'hostile.toml');
  return join(folder, 'out/hostile');
}
