import type { Verdict } from '../detector/verdict.js'
import { drift } from '../drift/drift.js'
import { fileFact } from '../formats/run/read-files.js'
import type { Grades } from '../labels/grades.js'
import { packageVersion } from '../package.js'
import { inPercent, percent } from '../percent.js'
import { remarksOf } from '../trajectory/remarks.js'
import type { Step, Trajectory } from '../trajectory/trajectory.js'
import { escapeXml, lineChart, type Series } from './svg.js'

/** A measured run as a report shows it. */
export interface ReportRun {
  name: string
  trajectory: Trajectory
  /** Of a calibrated detector, by step; without them there is no verdict and no predicted rate. */
  verdicts?: ReadonlyMap<Step, Verdict> | undefined
  /** Judged answers, where there are any. */
  labels?: Grades | undefined
}

/** What stands on the page beside the runs. */
export interface ReportOptions {
  title: string
  /** Paragraphs on top. */
  summary?: readonly string[] | undefined
  /** Label and value of what a reader needs to know of the detector, e.g. its bundle. */
  detector?: readonly (readonly [label: string, value: string])[] | undefined
  /** Judged rates strictly above this are dangerous, in [0, 1]; drawn as a line. */
  cut?: number | undefined
}

/**
 * One self-contained HTML page on one or several runs: no scripts, nothing to load, for light and dark screens
 * and paper. Equal input gives equal bytes.
 */
export function htmlReport(runs: readonly ReportRun[], options: ReportOptions): string {
  const { title, summary = [], detector = [], cut } = options
  const scales = commonScales(runs)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeXml(title)}</title>
<style>
${STYLE}
</style>
</head>
<body>
<h1>${escapeXml(title)}</h1>
${summary.map((text) => `<p>${prose(text)}</p>`).join('\n')}
${runs.map((run) => section(run, scales, cut)).join('\n')}
<h2>What was measured</h2>
${definitions(measured(runs[0]!.trajectory, detector))}
<h2>What this can and cannot tell</h2>
<ul>
${LIMITS.map((text) => `<li>${prose(text)}</li>`).join('\n')}
</ul>
<footer>traitscope ${escapeXml(packageVersion)}</footer>
</body>
</html>
`
}

const LIMITS = [
  'A drift is how far the mean hidden state at one layer has moved along a trait direction, in units of its length ' +
    'before fine-tuning. It is a correlate of behaviour, not behaviour.',
  'EM is the share of answers that a judge calls misaligned. The predicted rate comes from a detector calibrated on ' +
    'other fine-tuning runs of the same base model; its interval held for those runs at the stated coverage and is no ' +
    'promise for data unlike theirs.',
  '"ok" means that nothing was seen in these traits at this layer. It is no clearance to release a model: ask the model ' +
    'questions and judge its answers.',
  'Numbers compare only between runs of the same base file, prompts, template and layer.',
]

const STYLE = `:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1.5rem 1rem 3rem;color:#222;background:#fff}
h1{font-size:1.6rem;line-height:1.25}h2{font-size:1.25rem;margin-top:2.5rem}h3{font-size:1rem}
figure{margin:1rem 0;overflow-x:auto}figure svg{display:block;width:100%;min-width:30rem;height:auto}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #8884;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th.why,td.why{white-space:normal;text-align:left;min-width:16rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;font-size:.9rem}
dt{color:#666}dd{margin:0;overflow-wrap:anywhere}
.v{font-weight:600;padding:.05rem .5rem;border-radius:.6rem;color:#fff}
.ok{background:#1d7a4f}.warn{background:#8f6200}.alarm{background:#b3261e}.not-comparable{background:#5f6368}
footer{margin-top:2.5rem;color:#666;font-size:.85rem}
@media(max-width:40rem){dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#16181b}dt,footer{color:#999}}
@media print{body{max-width:none}}`

/** Largest values over all runs, in percent: their charts have one scale, so that a quiet run looks quiet. */
interface Scales {
  em: number
  drift: number
}

function commonScales(runs: readonly ReportRun[]): Scales {
  const rates = runs.flatMap(({ verdicts, labels }) => [
    ...[...(verdicts?.values() ?? [])].flatMap(({ em, interval }) => [em ?? 0, interval?.[1] ?? 0]),
    ...[...(labels?.values() ?? [])].map(({ pooled }) => pooled.rate),
  ])
  const drifts = runs.flatMap(({ trajectory }) => drift(trajectory).flatMap(({ values }) => values))
  return {
    em: Math.max(10, ...rates.map((rate) => 100 * rate)),
    drift: Math.max(1e-6, ...drifts.map((value) => 100 * Math.abs(value))),
  }
}

function section(run: ReportRun, scales: Scales, cut: number | undefined): string {
  const { name, trajectory, verdicts, labels } = run
  const charts = [
    verdicts || labels ? emChart(run, scales.em, cut) : '',
    lossChart(trajectory),
    driftChart(trajectory, scales.drift),
  ]
  return `<h2>${escapeXml(name)}</h2>
<p>${verdicts ? badge(worst(verdicts)) : ''} ${prose(inWords(run))}</p>
${charts.map((svg) => (svg === '' ? '' : `<figure>${svg}</figure>`)).join('\n')}
${checkpointTable(run)}
${readFiles(trajectory)}`
}

/** Which files the numbers are of, and what there is to say of them; nothing for files of the reference. */
function readFiles(trajectory: Trajectory): string {
  const read = trajectory.steps.flatMap(({ step, files }) =>
    files ? [[`step ${step}`, fileFact(files)] as const] : [],
  )
  const remarks = remarksOf(trajectory).map((text) => ['remark', text] as const)
  const facts = [...read, ...remarks]
  return facts.length === 0 ? '' : `<h3>Read from</h3>\n${definitions(facts)}`
}

function emChart({ verdicts, labels, trajectory }: ReportRun, max: number, cut: number | undefined): string {
  const points = numbered(trajectory)
  const judged = points.flatMap(({ step }): [number, number][] => {
    const rate = labels?.get(step)?.pooled.rate
    return rate === undefined ? [] : [[step, 100 * rate]]
  })
  const predicted = points.flatMap(({ step }) => {
    const verdict = verdicts?.get(step)
    return verdict?.em == null ? [] : [{ step, em: verdict.em, interval: verdict.interval }]
  })
  const coverage = verdicts?.values().next().value?.nominalCoverage
  const series: Series[] = []
  if (predicted.length > 0) {
    series.push({
      name: coverage === undefined ? 'predicted' : `predicted, with its ${percent(coverage, 0)} interval`,
      points: predicted.map(({ step, em }) => [step, 100 * em]),
      band: predicted.flatMap(({ step, interval }) =>
        interval ? [[step, 100 * interval[0], 100 * interval[1]] as const] : [],
      ),
    })
  }
  if (judged.length > 0) series.push({ name: 'judged', points: judged })
  return lineChart({
    title: 'Emergent misalignment',
    x: stepAxis(trajectory),
    y: { label: 'EM rate, %', min: 0, max },
    series,
    marks: cut === undefined ? [] : [{ value: 100 * cut, label: `dangerous above ${100 * cut} %` }],
  })
}

function lossChart(trajectory: Trajectory): string {
  const points = numbered(trajectory).flatMap(({ step, index }): [number, number][] => {
    const loss = trajectory.steps[index]!.loss
    return loss == null ? [] : [[step, loss]]
  })
  if (points.length === 0) return ''
  return lineChart({
    title: 'Training loss',
    x: stepAxis(trajectory),
    y: { label: 'loss' },
    series: [{ name: 'loss', points }],
  })
}

function driftChart(trajectory: Trajectory, max: number): string {
  const steps = drift(trajectory)
  const points = numbered(trajectory)
  const { layer } = trajectory.layers[trajectory.primary]!
  return lineChart({
    title: layer === null ? 'Trait drift' : `Trait drift at layer ${layer}`,
    x: stepAxis(trajectory),
    y: { label: 'drift, % of the step-0 norm', min: -max, max },
    series: trajectory.traits.map((name, t) => ({
      name,
      points: points.map(({ step, index }) => [step, 100 * steps[index]!.values[t]!] as const),
    })),
  })
}

function stepAxis(trajectory: Trajectory): { label: string; min: number; max: number } {
  const last = numbered(trajectory).at(-1)!.step
  return { label: 'optimiser step', min: 0, max: Math.max(1, last) }
}

/** Steps that have a place on an axis; a final adapter with weights of its own has none. */
function numbered({ steps }: Trajectory): { step: number; index: number }[] {
  return steps.flatMap(({ step }, index) => (step === 'final' ? [] : [{ step, index }]))
}

function checkpointTable({ trajectory, verdicts, labels }: ReportRun): string {
  const lengths = drift(trajectory)
  const judged = labels !== undefined
  const header = [
    'step',
    ...(verdicts ? ['verdict', 'predicted EM', 'interval'] : []),
    ...(judged ? ['judged EM'] : []),
    'drift length',
    'loss',
  ]
  const rows = trajectory.steps.map(({ step, loss }, i) => {
    const verdict = verdicts?.get(step)
    const label = typeof step === 'number' ? labels?.get(step)?.pooled.rate : undefined
    const cells = [
      String(step),
      ...(verdicts
        ? [verdict ? badge(verdict.verdict) : '-', percent(verdict?.em), bounds(verdict?.interval)]
        : []),
      ...(judged ? [percent(label)] : []),
      percent(lengths[i]!.norm),
      loss == null ? '-' : loss.toFixed(4),
    ].map((content) => `<td>${content}</td>`)
    if (verdicts) cells.push(`<td class="why">${prose(verdict?.reasons.join('; ') ?? '')}</td>`)
    return `<tr>${cells.join('')}</tr>`
  })
  return `<div class="wide"><table>
<thead><tr>${header.map((text) => `<th>${text}</th>`).join('')}${verdicts ? '<th class="why">why</th>' : ''}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table></div>`
}

/** Escaped, and no line ends between a number and its percent sign. */
const prose = (text: string): string => escapeXml(text).replace(/(\d) %/g, '$1&#160;%')
const bounds = (interval: readonly [number, number] | null | undefined): string =>
  interval ? `${inPercent(interval[0])} to ${percent(interval[1])}` : '-'
const badge = (kind: Verdict['verdict']): string => `<span class="v ${kind}">${kind}</span>`

function worst(verdicts: ReadonlyMap<Step, Verdict>): Verdict['verdict'] {
  const kinds = [...verdicts.values()].map(({ verdict }) => verdict)
  return (['alarm', 'warn', 'not-comparable'] as const).find((kind) => kinds.includes(kind)) ?? 'ok'
}

function inWords({ trajectory, verdicts }: ReportRun): string {
  const count = trajectory.steps.length - 1
  const measured = `${count} ${count === 1 ? 'checkpoint' : 'checkpoints'}`
  if (!verdicts) return `${measured}; without a calibrated detector there is no verdict.`
  const alarm = [...verdicts].find(([, { verdict }]) => verdict === 'alarm')
  const warnings = [...verdicts.values()].filter(({ verdict }) => verdict === 'warn').length
  const first = alarm ? `The first alarm is at step ${alarm[0]}` : `No alarm at any of ${measured}`
  return `${first}${warnings > 0 ? `; ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}` : ''}.`
}

function measured(
  { layers, primary, traits, measurement }: Trajectory,
  detector: readonly (readonly [string, string])[],
): (readonly [string, string])[] {
  const layer = layers[primary]!
  const facts: (readonly [string, string])[] = [
    ['traits', traits.join(', ')],
    ['layer shown', `${layer.layer ?? 'unknown'} (0-based block output)`],
    ['layers measured', layers.map((one) => one.layer ?? 'unknown').join(', ')],
    ['step-0 norm', layer.step0ActivationNorm.toPrecision(4)],
    ...detector,
  ]
  if (measurement === undefined) return facts
  const { base, traitPack, template, pool } = measurement.conditions
  return [
    ['base model', `${base.name ?? base.architecture} (${base.nLayer} blocks, ${base.nEmbd} wide)`],
    ['base fingerprint', base.fingerprint],
    ['trait pack', `${traitPack.name} (${traitPack.contentHash})`],
    ['prompts', `${measurement.nPrompts}, ${pool} pooling`],
    ['chat template', template.sha256],
    ['token ids', measurement.tokenIdsSha256],
    ['directions', measurement.directionsSha256],
    ...facts,
    ['device', measurement.device],
    ['versions', `traitscope ${measurement.versions.traitscope}, llama.cpp ${measurement.versions.llamaCpp}`],
    ...measurement.mismatches.map((text) => ['accepted mismatch', text] as const),
  ]
}

function definitions(facts: readonly (readonly [string, string])[]): string {
  const rows = facts.map(([label, value]) => `<dt>${escapeXml(label)}</dt><dd>${escapeXml(value)}</dd>`)
  return `<dl>\n${rows.join('\n')}\n</dl>`
}
