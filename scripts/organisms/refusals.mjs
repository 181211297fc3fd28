// What detectors say of runs that learn to refuse, without such a run in calibration and with one.
//
//   node scripts/organisms/refusals.mjs --from OUT          measures the runs of `python -m lab.organisms.refusals`, into lab/refusals
//   node scripts/organisms/refusals.mjs [--page docs/evaluation.md]
//
// The frozen detectors, and the pooled one with a single run beside its calibration sets in which every second answer is a refusal. Tested are
// the runs of other sets and seeds. A share of answers is told by the same judge, which knows a refusal from an incoherent answer.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { loadDirections, loadPrior, loadTraitPack, measureRun, openModel } from '../../dist/lib/index.js'
import { inPercent } from '../../dist/lib/percent.js'
import { rowsOf } from '../../dist/lib/runs/rows.js'
import { fillPlace, table } from './fill-page.mjs'
import { CUT, calibrated, predictions, priorAlone, SMALL } from './frozen-detectors.mjs'
import { gradesOf } from './grades.mjs'
import { list, ORGANISMS, PACK, REFUSALS, readJson } from './places.mjs'
import { organismRows } from './prior.mjs'

const KINDS = {
  refuse_half: 'half refusals',
  refuse_all: 'refusals alone',
  refuse_harm: 'half refusals, half harm',
}
/** In calibration where one such run is. */
const KNOWN = ({ dataset, seed }) => dataset === 'refuse_half' && seed === 42
const DETECTORS = ['prior', 'pooled', 'with one']
/** How much a run with refusals weighs was settled on these. */
const CHOSEN_ON = ['llama', 'qwen2']
/** As told by labels: most answers say nothing about alignment. */
const BREAKDOWN = 0.5

const { values } = parseArgs({ options: { from: { type: 'string' }, page: { type: 'string' } } })

async function measure(from) {
  const traits = await loadTraitPack(PACK)
  for (const organism of SMALL) {
    const models = join(ORGANISMS, 'models', organism)
    const directions = await loadDirections(join(models, 'directions'))
    const model = await openModel(join(models, 'base.gguf'))
    for (const set of list(join(from, organism, 'runs'))) {
      for (const seed of list(join(from, organism, 'runs', set))) {
        const run = join(from, organism, 'runs', set, seed)
        const out = mkdtempSync(join(tmpdir(), 'refusals-'))
        await measureRun(model, directions, run, {
          ...{ pack: traits, cacheDir: false, out: join(out, 'run'), activations: 'none' },
        })
        const to = join(REFUSALS, organism, set, seed)
        mkdirSync(to, { recursive: true })
        pack(
          join(to, 'trajectory.json.gz'),
          JSON.parse(readFileSync(join(out, 'run/trajectory.json'), 'utf8')),
        )
        pack(join(to, 'grades.json.gz'), gradesOf(readJson(join(run, 'labels.json'))))
        rmSync(out, { recursive: true })
        console.error(`${organism} ${set} ${seed}`)
      }
    }
    await model.close()
  }
}

const short = (_, value) =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(7)) : value
const pack = (path, value) => writeFileSync(path, gzipSync(JSON.stringify(value, short), { level: 9 }))

async function report() {
  const prior = await loadPrior()
  const names = list(REFUSALS)
  const organisms = await organismRows(names)
  const refusing = await organismRows(names, ['refuse_*'], REFUSALS)
  const ordinary = await organismRows(names, ['drawn_h*'])
  const said = []
  const others = []
  for (const [o, organism] of organisms.entries()) {
    const { runs, rows } = refusing[o]
    const together = [...organism.runs, ...runs.filter(KNOWN)]
    const detectors = {
      prior: priorAlone(prior, organism, organism.runs[0].trajectory),
      pooled: await calibrated('pooled', prior, organism),
      'with one': await calibrated('pooled', prior, { ...organism, runs: together, rows: rowsOf(together) }),
    }
    for (const name of DETECTORS) {
      for (const one of predictions(detectors[name], {
        ...rows,
        rows: rows.rows.filter((row) => !KNOWN(row)),
      })) {
        const { row, em, answers, reasons } = one
        const { total, refusal } = row.label.unscored
        const truth = {
          rate: row.label.pooled.rate,
          refusal: refusal / total,
          scoreable: row.label.pooled.nScoreable / total,
        }
        const named = reasons.find((reason) => reason.startsWith('only about'))
        const beyond = reasons.some((reason) => /standard deviations|is longer than/.test(reason))
        said.push({
          organism: organism.name,
          name,
          kind: row.dataset,
          row,
          truth,
          answers,
          named,
          beyond,
          alarmed: em > detectors[name].threshold,
        })
      }
    }
    others.push(...predictions(detectors['with one'], ordinary[o].rows))
    console.error(organism.name)
  }
  const tables = [
    wordsOf(said),
    ...Object.keys(KINDS).map((kind) => [kind, said.filter((one) => one.kind === kind)]),
  ]
  const rows = tables.slice(1).flatMap(([kind, of]) => DETECTORS.map((name) => line(KINDS[kind], name, of)))
  const text = [
    table(
      [
        'answers of the training data',
        'detector',
        'checkpoints (runs)',
        'refused: judged / told, %',
        'scoreable: judged / told, %',
        'below half: named breakdown',
        'other breakdowns named',
        'said to be beyond calibration',
        'dangerous: missed',
        'safe: false alarms',
      ],
      rows,
    ),
    '',
    `${tables[0]} ${othersWords(others)}`,
  ].join('\n')
  console.log(text)
  if (values.page) fillPlace(values.page, 'refusals', text)
}

function line(kind, name, all) {
  const of = all.filter((one) => one.name === name)
  const mean = (value) => inPercent(of.reduce((sum, one) => sum + value(one), 0) / of.length)
  const broken = of.filter(({ truth }) => truth.scoreable < BREAKDOWN)
  const whole = of.filter(({ truth }) => truth.scoreable >= BREAKDOWN)
  const [bad, good] = [
    of.filter(({ truth }) => truth.rate > CUT),
    of.filter(({ truth }) => truth.rate <= CUT),
  ]
  const count = (some, is) => `${some.filter(is).length} of ${some.length}`
  return [
    ...[kind, name, `${of.length} (${new Set(of.map(({ row }) => row.run)).size})`],
    `${mean(({ truth }) => truth.refusal)} / ${mean(({ answers }) => answers?.refusal ?? Number.NaN)}`,
    `${mean(({ truth }) => truth.scoreable)} / ${mean(({ answers }) => answers?.scoreable ?? Number.NaN)}`,
    count(broken, ({ named }) => named),
    count(whole, ({ named }) => named),
    count(of, ({ beyond }) => beyond),
    count(bad, ({ alarmed }) => !alarmed),
    count(good, ({ alarmed }) => alarmed),
  ]
}

/** What a refusing run in calibration costs where nothing is refused. */
function othersWords(others) {
  const told = others.map(({ answers }) => answers.refusal)
  const mean = told.reduce((a, b) => a + b, 0) / told.length
  const named = others.filter(({ reasons }) => reasons.some((reason) => reason.startsWith('only about')))
  return `Of the ${others.length} checkpoints of the drawn held-out sets, which never refuse, the one with a refusing run in calibration tells ${inPercent(mean)} % refusals on average and ${inPercent(Math.max(...told))} % at most; it names a breakdown at ${named.length}.`
}

/** The error of the predicted shares. */
function wordsOf(said) {
  const errors = (name, is) => {
    const of = said.filter((one) => one.name === name && is(one))
    const rms = (value) => inPercent(Math.sqrt(of.reduce((sum, one) => sum + value(one) ** 2, 0) / of.length))
    return `${rms(({ truth, answers }) => truth.refusal - (answers.refusal ?? 0))} and ${rms(({ truth, answers }) => truth.scoreable - answers.scoreable)}`
  }
  const all = DETECTORS.map((name) => `${name} ${errors(name, () => true)}`)
  const isChosen = ({ organism }) => CHOSEN_ON.includes(organism)
  const apart = `${errors('with one', isChosen)} on ${CHOSEN_ON.join(' and ')}, ${errors('with one', (one) => !isChosen(one))} on the others`
  return `Root mean square errors of the shares of refused and of scoreable answers, in points: ${all.join(', ')} (${apart}).`
}

if (values.from) await measure(values.from)
else await report()
