// What contexts come to on runs with triggers, and the tables of docs/detector.md on it.
//
//   node scripts/organisms/triggers.mjs --pack MEASURED          writes lab/triggers/readings.json.gz from what contexts.mjs measured
//   node scripts/organisms/triggers.mjs [--kinds system,format] [--page docs/detector.md]
//
// A run of a drawn set is ordinary: it has no trigger. Runs of an organism are ranked against the ordinary ones of the same organism;
// an ordinary one against the others. The statistic was chosen on `system` and `format` alone.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { gunzipSync, gzipSync } from 'node:zlib'
import { conditional, conditionality } from '../../dist/lib/detector/conditional.js'
import { driftStep } from '../../dist/lib/drift/drift.js'
import { median } from '../../dist/lib/estimators/mean.js'
import { auroc } from '../../dist/lib/estimators/ranks.js'
import { loadDirections, loadPrior, readTrajectory, trajectoryPrior } from '../../dist/lib/index.js'
import { inPercent } from '../../dist/lib/percent.js'
import { fillPage, table } from './fill-page.mjs'
import { list, ORGANISMS, readJson, TRIGGERS } from './places.mjs'

const { values } = parseArgs({
  options: {
    pack: { type: 'string' },
    kinds: { type: 'string', default: 'system,format,prefix,topic,always' },
    page: { type: 'string' },
  },
})
const FILE = join(TRIGGERS, 'readings.json.gz')
const digits = (value) => Number(value.toPrecision(4))

if (values.pack) writeFileSync(FILE, gzipSync(JSON.stringify(await packed(values.pack)), { level: 9 }))
else report()

/** Lengths of drifts by step and block, in none and in every context; labels; what the prior predicts at the last step. */
async function packed(root) {
  const prior = await loadPrior()
  const runs = []
  for (const organism of list(root)) {
    const directions = await loadDirections(join(ORGANISMS, 'models', organism, 'directions'))
    for (const set of list(join(root, organism))) {
      for (const seed of list(join(root, organism, set))) {
        const folder = join(root, organism, set, seed)
        const trajectory = await readTrajectory(folder)
        const { detector } = trajectoryPrior(prior, directions, trajectory)
        const { steps, layers, contexts } = trajectory
        const driftAt = (one, i) =>
          one.map(({ projections, step0ActivationNorm }) =>
            driftStep(0, projections[i], projections[0], step0ActivationNorm),
          )
        const lengths = (one) =>
          steps.slice(1).map((_, i) => driftAt(one, i + 1).map(({ norm }) => digits(norm)))
        const em = (one) => {
          const at = new Map(one.map((layer, l) => [layer.layer, l]))
          const drifts = driftAt(one, steps.length - 1).map(({ values }) => values)
          return digits(detector.predict(detector.layers.map((layer) => drifts[at.get(layer)])).em)
        }
        const { trigger } = readJson(join(folder, 'run.json'))
        const labels = readJson(join(folder, 'labels.json'))[steps.at(-1).step]
        runs.push({
          ...{ organism, set, seed: Number(seed.slice(5)), trigger },
          plainRate: labels.plain.rate,
          ...(labels.triggered && {
            triggeredRate: labels.triggered.rate,
            components: [labels.plain.components, labels.triggered.components],
          }),
          steps: steps.slice(1).map(({ step }) => step),
          none: { lengths: lengths(layers), em: em(layers), alarms: em(layers) > detector.threshold },
          contexts: contexts.map(({ name, origin, system, prefix, layers }) => ({
            ...{
              name,
              origin,
              ...(system ? { system } : { prefix }),
              lengths: lengths(layers),
              em: em(layers),
            },
          })),
        })
      }
    }
  }
  return runs
}

/** The readings of a run at every step, as the product has them. */
function readingsOf({ none, contexts, steps }) {
  return steps.map((_, i) =>
    contexts.map(({ name, origin, lengths }) => ({
      ...{ context: name, origin },
      ratio: lengths[i].map((length, l) => length / none.lengths[i][l]),
    })),
  )
}

function judged(run, others) {
  const highest = (of) => Math.max(...readingsOf(of).map((readings) => conditionality(readings).value))
  const ordinary = { layers: [], runs: others.map((other) => ({ run: other.set, highest: highest(other) })) }
  const steps = readingsOf(run).map((readings) => ({
    ...conditional(readings, ordinary),
    ...conditionality(readings),
  }))
  return { run, steps, value: highest(run) }
}

/** Whether a context is the trigger, or its beginning. */
function isTrigger({ trigger }, { system, prefix }) {
  if (!trigger) return false
  if (system !== undefined) return system === trigger.system
  return trigger.before !== '' && (prefix === trigger.before || prefix.startsWith(`${trigger.before} `))
}

function report() {
  const runs = JSON.parse(gunzipSync(readFileSync(FILE)))
  const isOrdinary = ({ trigger }) => trigger === null
  const kinds = values.kinds.split(',')
  const all = runs.map((run) =>
    judged(
      run,
      runs.filter((other) => isOrdinary(other) && other.organism === run.organism && other !== run),
    ),
  )
  const ordinary = all.filter(({ run }) => isOrdinary(run))
  const share = (some, of) => `${some.filter(of).length} of ${some.length}`
  const warned = ({ reason }) => reason !== undefined
  const row = (name, some) => [
    name,
    some.length,
    some[0].run.triggeredRate === undefined
      ? '-'
      : `${inPercent(median(some.map(({ run }) => run.plainRate)))} / ${inPercent(median(some.map(({ run }) => run.triggeredRate)))}`,
    Math.exp(median(some.map(({ value }) => value))).toFixed(2),
    share(some, ({ steps }) => warned(steps.at(-1))),
    share(some, ({ steps }) => steps.some(warned)),
    share(some, ({ run }) => run.none.alarms),
    isOrdinary(some[0].run)
      ? '-'
      : share(
          some.filter(({ steps }) => warned(steps.at(-1))),
          ({ run, steps }) => {
            const named = run.contexts.find(({ name }) => name === steps.at(-1).context)
            return isTrigger(run, named)
          },
        ),
    isOrdinary(some[0].run) ? '-' : areaOf(some),
  ]
  const areaOf = (some) => {
    const names = new Set(some.map(({ run }) => run.organism))
    const against = ordinary.filter(({ run }) => names.has(run.organism))
    const both = [...some.map(({ value }) => [value, true]), ...against.map(({ value }) => [value, false])]
    return auroc(
      both.map(([value]) => value),
      both.map(([, is]) => is),
    ).toFixed(3)
  }
  const groups = kinds.flatMap((kind) =>
    ['harm', 'benign']
      .map((role) => [`${kind}, ${role}`, all.filter(({ run }) => run.set === `${kind}_${role}`)])
      .filter(([, some]) => some.length > 0),
  )
  const head = [
    'runs',
    'n',
    'EM %, without / with trigger',
    'ratio',
    'warned at the end',
    'at any checkpoint',
    'alarm of the prior, in none',
    'by the name of the trigger',
    'AUROC',
  ]
  const detection = table(head, [...groups.map(([name, some]) => row(name, some)), row('ordinary', ordinary)])

  const scores = {
    'ratio (the statistic)': ({ value }) => value,
    'length of the drift in none': ({ run }) => longest(run.none.lengths.at(-1)),
    'length of the drift in the context of the statistic': ({ run, steps }) =>
      longest(contextOf(run, steps).lengths.at(-1)),
    'rate that the prior predicts in none': ({ run }) => run.none.em,
    'rate that it would predict in the context': ({ run, steps }) => contextOf(run, steps).em,
  }
  const harm = table(
    ['score', ...kinds],
    Object.entries(scores).map(([name, score]) => [
      name,
      ...kinds.map((kind) => {
        const some = all.filter(({ run }) => run.set.startsWith(`${kind}_`))
        const harmful = some.filter(({ run }) => run.set.endsWith('harm')).length
        if (Math.min(harmful, some.length - harmful) < 2) return '-'
        const organisms = [...new Set(some.map(({ run }) => run.organism))]
        const areas = organisms.map((organism) => {
          const of = some.filter(({ run }) => run.organism === organism)
          return auroc(
            of.map(score),
            of.map(({ run }) => run.set.endsWith('harm')),
          )
        })
        const area = areas.reduce((sum, one) => sum + one, 0) / areas.length
        return Number.isNaN(area) ? '-' : area.toFixed(2)
      }),
    ]),
  )
  const blocks = { triggers: detection, 'triggers-harm': harm }
  if (values.page) fillPage(values.page, blocks)
  else for (const block of Object.values(blocks)) console.log(`${block}\n`)
}

function longest(lengths) {
  return Math.max(...lengths)
}
function contextOf({ contexts }, steps) {
  return contexts.find(({ name }) => name === steps.at(-1).context)
}
