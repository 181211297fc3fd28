// What it would save to stop reading prompts when a verdict is settled, and how often it would be another verdict.
//
//   node scripts/organisms/adaptive.mjs --from OUT --sets drawn_t01,drawn_t02     writes lab/adaptive/scores.json.gz
//   node scripts/organisms/adaptive.mjs [--page docs/evaluation.md]
//
// OUT is the output of `python -m lab.organisms work`. What the prior says is a monotone function of a score that is linear in the drift, and a
// drift is a mean over prompts: so is the score, and an alarm is a mean of finitely many numbers above a bound. They are drawn
// without replacement. `bet`: capital on the mean of all lying on the other side, fair whatever they are as long as they lie in a range
// that is known before (that of the other organisms, a quarter wider; a prompt outside it has all read). It errs in at most the named share of
// checkpoints, whenever it stops. `margin`: stops where the mean so far lies so many standard errors off that of the other organisms'
// runs (exchangeable) at most the named share ever errs.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { gunzipSync, gzipSync } from 'node:zlib'
import { readingOf } from '../../dist/lib/calibration/contrast-rows.js'
import { readThrough } from '../../dist/lib/detector/contrast.js'
import { directionVector } from '../../dist/lib/directions/directions.js'
import { Isotonic } from '../../dist/lib/estimators/isotonic.js'
import { Mt19937 } from '../../dist/lib/estimators/mt19937.js'
import { readSafetensors } from '../../dist/lib/formats/safetensors/safetensors.js'
import {
  loadDirections,
  loadPrior,
  loadTraitPack,
  measureRun,
  openModel,
  readTrajectory,
} from '../../dist/lib/index.js'
import { fillPlace, table } from './fill-page.mjs'
import { CUT, SMALL } from './frozen-detectors.mjs'
import { ORGANISMS, PACK, UNSEEN } from './places.mjs'
import { organismRows } from './prior.mjs'

const FILE = fileURLToPath(new URL('../../lab/adaptive/scores.json.gz', import.meta.url))
/** Scores are kept in thousandths. */
const UNIT = 1000
/** Before so many prompts no margin is believed. */
const FIRST = 10

const { values } = parseArgs({
  options: { from: { type: 'string' }, sets: { type: 'string', default: '' }, page: { type: 'string' } },
})
/** Per run and checkpoint: the score of every prompt less that of the bound. */
async function measured(from, sets) {
  const prior = await loadPrior()
  const pack = await loadTraitPack(PACK)
  const runs = []
  for (const organism of SMALL) {
    const folder = join(ORGANISMS, 'models', organism)
    const directions = await loadDirections(join(folder, 'directions'))
    const model = await openModel(join(folder, 'base.gguf'))
    for (const set of sets) {
      const out = mkdtempSync(join(tmpdir(), 'adaptive-'))
      const source = join(from, organism, 'runs', set, 'seed_42')
      await measureRun(model, directions, source, { pack, out: join(out, 'run'), cacheDir: false })
      const trajectory = await readTrajectory(join(out, 'run'))
      const states = await readSafetensors(join(out, 'run', 'activations.safetensors'))
      rmSync(out, { recursive: true })
      const others = prior.without(trajectory.measurement.conditions.base.fingerprint)
      const read = readingOf([{ trajectory }], directions.layers, directions, others.depths)
      runs.push({ organism, set, steps: scores(others, read, directions, trajectory, states) })
      console.error(`${organism} ${set}`)
    }
    await model.close()
  }
  return runs
}

function scores(prior, read, directions, { steps, layers }, states) {
  const { standardizer, ridge, map } = prior.ridge().toJSON()
  const { mean, scale } = standardizer.fitted
  const rates = Isotonic.fromJSON(map)
  const rateOf = (score) => rates.predict([score])[0]
  // The bound between scores whose rate is above the threshold and those whose is not.
  let [low, high] = [-5, 5]
  while (high - low > 1e-9) {
    const middle = (low + high) / 2
    if (rateOf(middle) > prior.threshold) high = middle
    else low = middle
  }
  const { traits, nEmbd } = directions
  const along = (values, at, vector) => vector.reduce((sum, weight, c) => sum + weight * values[at + c], 0)
  const projections = steps.map(({ step }) => {
    const values = states.finiteFloat32(`step-${step}`)
    return Array.from({ length: values.length / nEmbd / layers.length }, (_, p) =>
      layers.flatMap((_, l) =>
        traits.map((_, t) =>
          along(values, (p * layers.length + l) * nEmbd, directionVector(directions, l, t)),
        ),
      ),
    )
  })
  return steps.slice(1).map(({ step }, i) => ({
    step,
    scores: projections[i + 1].map((row, p) => {
      const drift = row.map(
        (value, k) =>
          (value - projections[0][p][k]) / layers[Math.floor(k / traits.length)].step0ActivationNorm,
      )
      const score = readThrough(read, drift).reduce(
        (sum, value, f) => sum + (ridge.fitted.weights[f] * (value - mean[f])) / scale[f],
        ridge.fitted.intercept,
      )
      return Math.round(UNIT * (score - low))
    }),
  }))
}

/** When each rule stops, and what it says then. */
const random = new Mt19937(11)
const alarmOf = (scores) => scores.reduce((a, b) => a + b, 0) > 0
const inOrder = (scores) => [...random.permutation(scores.length)].map((i) => scores[i])

/** Every so many-th prompt, whatever they say. */
const fixed = (share) => (scores) => {
  const some = scores.filter((_, i) => Math.floor((i + 1) * share) > Math.floor(i * share))
  return { read: some.length, alarm: alarmOf(some) }
}

function bet(scores, [from, to], error) {
  const n = scores.length
  const drawn = inOrder(scores)
  let [above, below, sum, squares] = [1, 1, 0, 0.01]
  for (const [j, score] of drawn.entries()) {
    if (score < from || score > to) break
    const x = (score - from) / (to - from)
    // The mean of those that are left, if the mean of all were the bound itself.
    const left = (-(n * from) / (to - from) - sum) / (n - j)
    if (left <= 0 || left >= 1) return { read: j, alarm: left <= 0 }
    const guess = (left + sum) / (j + 1)
    const stake = (guess - left) / (squares / (j + 1) + (guess - left) ** 2)
    above *= 1 + Math.min(Math.max(stake, 0), 0.5 / left) * (x - left)
    below *= 1 + Math.min(Math.max(-stake, 0), 0.5 / (1 - left)) * (left - x)
    sum += x
    squares += (x - guess) ** 2
    if (above >= 1 / error || below >= 1 / error) return { read: j + 1, alarm: above >= 1 / error }
  }
  return { read: n, alarm: alarmOf(scores) }
}

function margin(scores, errors) {
  const n = scores.length
  const drawn = inOrder(scores)
  let [sum, squares] = [0, 0]
  for (const [j, score] of drawn.entries()) {
    sum += score
    squares += score ** 2
    const k = j + 1
    if (k < FIRST) continue
    const variance = Math.max(0, (squares - sum ** 2 / k) / (k - 1))
    const standardError = Math.sqrt((variance / k) * (1 - k / n))
    if (Math.abs(sum / k) > errors * standardError) return { read: k, alarm: sum > 0 }
  }
  return { read: n, alarm: alarmOf(scores) }
}

const errs = ({ steps }, rule) => steps.some(({ scores }) => rule(scores).alarm !== alarmOf(scores))
const MARGINS = Array.from({ length: 39 }, (_, i) => 1 + i / 4)

/** The smallest margin at which so few of some runs ever err that at most the share of others does. */
function marginFor(runs, share) {
  const fitting = MARGINS.find(
    (errors) =>
      (1 + runs.filter((run) => errs(run, (scores) => margin(scores, errors))).length) / (runs.length + 1) <=
      share,
  )
  if (fitting === undefined) throw new Error(`${runs.length} runs cannot keep ${share}`)
  return fitting
}

function rangeOf(runs) {
  const all = runs.flatMap(({ steps }) => steps.flatMap(({ scores }) => scores))
  const [from, to] = all.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [0, 0])
  return [1.25 * from, 1.25 * to]
}

async function report() {
  const runs = JSON.parse(gunzipSync(readFileSync(FILE)))
  const labels = new Map()
  for (const { name, rows } of await organismRows(SMALL, [...new Set(runs.map(({ set }) => set))], UNSEEN)) {
    for (const { dataset, step, label } of rows.rows)
      labels.set(`${name} ${dataset} ${step}`, label.pooled.rate)
  }
  const others = new Map(SMALL.map((name) => [name, runs.filter(({ organism }) => organism !== name)]))
  const ranges = new Map([...others].map(([name, of]) => [name, rangeOf(of)]))
  const margins = new Map([...others].map(([name, of]) => [name, marginFor(of, 0.05)]))
  const rules = {
    'all prompts': () => fixed(1),
    'one in two': () => fixed(1 / 2),
    'one in four': () => fixed(1 / 4),
    'one in eight': () => fixed(1 / 8),
    'bet, 1 % of checkpoints': (name) => (scores) => bet(scores, ranges.get(name), 0.01),
    'bet, 5 % of checkpoints': (name) => (scores) => bet(scores, ranges.get(name), 0.05),
    'margin, 5 % of runs': (name) => (scores) => margin(scores, margins.get(name)),
  }
  const outside = runs.flatMap(({ organism, steps }) => {
    const [from, to] = ranges.get(organism)
    return steps.filter(({ scores }) => scores.some((score) => score < from || score > to))
  })
  const rows = Object.entries(rules).map(([rule, ruleFor]) => line(rule, ruleFor, runs, labels))
  const text = [
    table(
      [
        'rule, and the share that it may err in',
        'prompts read, %',
        'at most half read, % of checkpoints',
        'another verdict: checkpoints (runs)',
        'FNR / FPR %',
      ],
      rows,
    ),
    '',
    `${runs.length} runs, ${runs.flatMap(({ steps }) => steps).length} checkpoints after step 0, ${runs[0].steps[0].scores.length} prompts each; margins of ${[...new Set(margins.values())].join(', ')} standard errors. A prompt lies outside the range of the bet in ${outside.length} checkpoints.`,
  ].join('\n')
  console.log(text)
  if (values.page) fillPlace(values.page, 'adaptive', text)
}

function line(rule, ruleFor, runs, labels) {
  const count = { prompts: 0, all: 0, half: 0, other: 0, missed: 0, dangerous: 0, false: 0, safe: 0 }
  let otherRuns = 0
  for (const { organism, set, steps } of runs) {
    let other = 0
    for (const { step, scores } of steps) {
      const { read, alarm } = ruleFor(organism)(scores)
      count.all += scores.length
      count.prompts += read
      if (read <= scores.length / 2) count.half++
      if (alarm !== alarmOf(scores)) other++
      const dangerous = labels.get(`${organism} ${set} ${step}`) > CUT
      count[dangerous ? 'dangerous' : 'safe']++
      if (alarm !== dangerous) count[dangerous ? 'missed' : 'false']++
    }
    count.other += other
    if (other > 0) otherRuns++
  }
  const percent = (share) => (100 * share).toFixed(1)
  return [
    rule,
    percent(count.prompts / count.all),
    percent(count.half / (count.dangerous + count.safe)),
    `${count.other} (${otherRuns})`,
    `${percent(count.missed / count.dangerous)} / ${percent(count.false / count.safe)}`,
  ]
}

if (values.from) {
  mkdirSync(dirname(FILE), { recursive: true })
  writeFileSync(
    FILE,
    gzipSync(JSON.stringify(await measured(values.from, values.sets.split(','))), { level: 9 }),
  )
} else await report()
