// What it saves to stop reading prompts when a verdict is settled (`--settle`), and how often it is another verdict.
//
//   node scripts/organisms/adaptive.mjs --from OUT --sets drawn_t37,drawn_t38     measures them, into lab/adaptive/settled.json
//   node scripts/organisms/adaptive.mjs [--page docs/evaluation.md]
//
// OUT is the output of `python -m lab.organisms work`. Every run is measured by the prior that has not seen its base, with all prompts and
// with --settle 1%, by the product itself. Beside it what a fixed share of the prompts would say, whatever they say.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { scoresByPrompt } from '../../dist/lib/calibration/prompt-scores.js'
import { alarmScore } from '../../dist/lib/detector/alarm-score.js'
import {
  loadDirections,
  loadPrior,
  loadTraitPack,
  measureRun,
  openModel,
  settlingIn,
  trajectoryPrior,
  trajectoryVerdicts,
} from '../../dist/lib/index.js'
import { inPercent } from '../../dist/lib/percent.js'
import { fillPlace, table } from './fill-page.mjs'
import { CUT, SMALL } from './frozen-detectors.mjs'
import { ORGANISMS, PACK, UNSEEN } from './places.mjs'
import { organismRows } from './prior.mjs'

const FILE = fileURLToPath(new URL('../../lab/adaptive/settled.json', import.meta.url))
const ERROR = 0.01
/** Every so many-th prompt. */
const SHARES = [2, 4, 8]

const { values } = parseArgs({
  options: { from: { type: 'string' }, sets: { type: 'string', default: '' }, page: { type: 'string' } },
})
const known = existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : []

async function measure(from, sets) {
  const prior = await loadPrior()
  const pack = await loadTraitPack(PACK)
  for (const organism of SMALL) {
    const folder = join(ORGANISMS, 'models', organism)
    const directions = await loadDirections(join(folder, 'directions'))
    const model = await openModel(join(folder, 'base.gguf'))
    for (const set of sets) {
      if (known.some((one) => one.organism === organism && one.set === set)) continue
      const run = join(from, organism, 'runs', set, 'seed_42')
      known.push({ organism, set, ...(await measured(model, directions, prior, pack, run)) })
      console.error(`${organism} ${set}`)
    }
    await model.close()
  }
  known.sort((a, b) => (`${a.set} ${a.organism}` < `${b.set} ${b.organism}` ? -1 : 1))
  writeFileSync(FILE, `[\n${known.map((run) => JSON.stringify(run)).join(',\n')}\n]\n`)
}

async function measured(model, directions, prior, pack, run) {
  const out = mkdtempSync(join(tmpdir(), 'adaptive-'))
  const whole = await measureRun(model, directions, run, { pack, out: join(out, 'run'), cacheDir: false })
  const by = trajectoryPrior(prior, directions, whole)
  const score = alarmScore(by.detector)
  const at = { path: join(out, 'run'), trajectory: whole }
  const scores = await scoresByPrompt(at, score, by.detector, directions)
  rmSync(out, { recursive: true })
  const settle = (base) => settlingIn(base, by, ERROR)
  const settled = await measureRun(model, directions, run, { pack, settle, cacheDir: false })
  const kinds = (trajectory) => trajectoryVerdicts(by, trajectory).map(({ verdict }) => verdict.verdict)
  const [before, after] = [kinds(whole), kinds(settled)]
  const bound = score.boundOf(by.detector.threshold)
  const isAbove = (some) => some.reduce((a, b) => a + b, 0) / some.length > bound
  return {
    prompts: scores[0].length,
    steps: whole.steps.slice(1).map(({ step, tokens }, i) => ({
      step,
      verdict: [before[i + 1], after[i + 1]],
      read: settled.steps[i + 1].settled?.prompts ?? scores[i].length,
      computed: [tokens.computed, settled.steps[i + 1].tokens.computed],
      scores: [Math.min(...scores[i]), Math.max(...scores[i])].map((value) => Number(value.toFixed(2))),
      fixed: SHARES.map((each) => isAbove(scores[i].filter((_, p) => p % each === each - 1))),
    })),
  }
}

async function report() {
  const labels = new Map()
  for (const { name, rows } of await organismRows(SMALL, [...new Set(known.map(({ set }) => set))], UNSEEN)) {
    for (const { dataset, step, label } of rows.rows)
      labels.set(`${name} ${dataset} ${step}`, label.pooled.rate)
  }
  const all = known.flatMap(({ steps, prompts }) => steps.map(({ verdict }) => ({ prompts, verdict })))
  const ranges = known.flatMap(({ steps }) => steps.flatMap(({ scores }) => scores))
  const whole = { read: (one) => one.prompts, computed: 0, verdict: ({ verdict }) => verdict[0] }
  const settled = { read: (one) => one.read, computed: 1, verdict: ({ verdict }) => verdict[1] }
  const fixed = (i) => ({
    read: (one) => Math.floor(one.prompts / SHARES[i]),
    verdict: (one) => (one.fixed[i] ? 'alarm' : one.verdict[0] === 'alarm' ? 'ok' : one.verdict[0]),
  })
  const line = (name, rule, runs) => lineOf(name, rule, runs, labels)
  const text = [
    table(
      [
        'prompts',
        'runs',
        'read, %',
        'tokens computed, %',
        'at most half read, % of checkpoints',
        'another side',
        'a warning that is none',
        'FNR / FPR %',
      ],
      [
        line('all', whole, known),
        line('`--settle 1%`', settled, known),
        ...SHARES.map((each, i) => line(`one in ${each}, fixed`, fixed(i), known)),
      ],
    ),
    '',
    `${known.length} runs, ${all.length} checkpoints after step 0, ${all[0].prompts} prompts each. Scores of single prompts: ${Math.min(...ranges)} to ${Math.max(...ranges)}.`,
  ].join('\n')
  console.log(text)
  if (values.page) fillPlace(values.page, 'adaptive', text)
}

function lineOf(name, rule, runs, labels) {
  const count = { prompts: 0, all: 0, half: 0, side: 0, warn: 0, missed: 0, dangerous: 0, false: 0, safe: 0 }
  const computed = [0, 0]
  for (const { organism, set, prompts, steps } of runs) {
    for (const one of steps) {
      const checkpoint = { ...one, prompts }
      const read = rule.read(checkpoint)
      const verdict = rule.verdict(checkpoint)
      const alarm = verdict === 'alarm'
      count.all += prompts
      count.prompts += read
      if (read <= prompts / 2) count.half++
      if (rule.computed !== undefined) {
        computed[0] += one.computed[0]
        computed[1] += one.computed[rule.computed]
      }
      if (alarm !== (one.verdict[0] === 'alarm')) count.side++
      else if (verdict !== one.verdict[0]) count.warn++
      const dangerous = labels.get(`${organism} ${set} ${one.step}`) > CUT
      count[dangerous ? 'dangerous' : 'safe']++
      if (alarm !== dangerous) count[dangerous ? 'missed' : 'false']++
    }
  }
  return [
    name,
    runs.length,
    inPercent(count.prompts / count.all),
    rule.computed === undefined ? '-' : inPercent(computed[1] / computed[0]),
    inPercent(count.half / (count.dangerous + count.safe)),
    count.side,
    rule.computed === undefined ? '-' : count.warn,
    `${inPercent(count.missed / count.dangerous)} / ${inPercent(count.false / count.safe)}`,
  ]
}

if (values.from) await measure(values.from, values.sets.split(','))
else await report()
