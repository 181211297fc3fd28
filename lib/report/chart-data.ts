/** The numbers of the page's charts: pure, so that what is drawn can be tested without a browser. */
import { signedNats } from '../labels/margins/margin-words.js'
import { percent, percentAt } from '../percent.js'
import { bandAt, behind } from './benign-band.js'
import type { Backdrop, Point, RunView } from './run-view.js'

export type Values = (number | null)[]

export interface Curve {
  label: string
  values: Values
  /** `dashed` is what is not the model as trained, `dots` what was judged rather than predicted. */
  style: 'line' | 'dashed' | 'dots'
  /** Index of its colour. */
  colour: number
}

/** A chart over optimiser steps; rates and drifts are in percent. */
export interface ChartData {
  id: string
  title: string
  unit: '%' | ''
  /** Ascending; every list of values has one per step. */
  steps: number[]
  curves: Curve[]
  /** A shade behind the curves. */
  band?: { label: string; low: Values; high: Values }
  marks: { label: string; value: number }[]
  range: { min?: number; max?: number }
}

/** Rates reach at least this far, in percent, so that noise near zero looks like it. */
const EM_SCALE = 10

/** What charts of some runs are drawn with. */
export interface ChartOptions {
  backdrop?: Backdrop | undefined
  /** Judged rates strictly above this are dangerous, in [0, 1]; default the backdrop's. */
  cut?: number | undefined
  /** Every run of the page: their charts have one scale, so that a quiet run looks quiet. Default: those that are shown. */
  all?: readonly RunView[] | undefined
}

/** All charts of the runs that are shown, on one axis of steps. */
export function chartsOf(
  shown: readonly RunView[],
  names: readonly string[],
  { backdrop, cut = backdrop?.cut, all = shown }: ChartOptions = {},
): ChartData[] {
  const [first] = shown
  if (first === undefined || first.points.length === 0) return []
  const scene: Scene = { shown, names, steps: stepsOf(shown), behind: behind(backdrop, first), cut, all }
  return [
    emChart(scene),
    marginChart(scene),
    lossChart(scene),
    lengthChart(scene),
    ...traitCharts(scene),
  ].filter((chart) => chart !== undefined)
}

interface Scene {
  shown: readonly RunView[]
  names: readonly string[]
  steps: number[]
  behind: Backdrop | undefined
  cut: number | undefined
  all: readonly RunView[]
}

/** A final adapter has no place on the axis. */
function stepsOf(views: readonly RunView[]): number[] {
  const steps = new Set<number>([0])
  for (const { points } of views) for (const { step } of points) if (step !== 'final') steps.add(step)
  return [...steps].sort((a, b) => a - b)
}

function curve(
  { shown, names, steps }: Scene,
  label: string,
  of: (point: Point) => number | null | undefined,
  style: Curve['style'] = 'line',
): Curve[] {
  return shown.flatMap(({ points }, i) => {
    const by = new Map(points.map((point) => [point.step, of(point)]))
    const values = steps
      .map((step) => by.get(step) ?? null)
      .map((value) => (value !== null && Number.isFinite(value) ? value : null))
    if (values.every((value) => value === null)) return []
    return [
      {
        label: shown.length === 1 ? label : `${names[i]}${label === '' ? '' : `, ${label}`}`,
        values,
        style,
        colour: i,
      },
    ]
  })
}

const inPercent = (share: number | null | undefined) => (share == null ? null : 100 * share)

function emChart(scene: Scene): ChartData | undefined {
  const { shown, steps, cut, all } = scene
  const verdicts = shown.flatMap(({ points }) => points.flatMap(({ verdict }) => verdict ?? []))
  const several = shown.length > 1
  const curves = [
    ...curve(scene, several ? '' : 'predicted', ({ verdict }) => inPercent(verdict?.em)),
    ...curve(scene, 'judged', ({ judged }) => inPercent(judged?.rate), 'dots'),
  ]
  if (curves.length === 0) return undefined
  const [one] = shown
  const by = new Map(one!.points.map(({ step, verdict }) => [step, verdict?.interval]))
  const edge = (i: 0 | 1) => steps.map((step) => inPercent(by.get(step)?.[i]))
  const low = edge(0)
  const rates = all.flatMap(({ points }) =>
    points.flatMap(({ verdict, judged }) => [verdict?.interval?.[1] ?? verdict?.em ?? 0, judged?.rate ?? 0]),
  )
  // Where benign runs decide, that of the rate does not.
  const threshold = verdicts.find(({ basis }) => basis !== 'benign')?.threshold
  // By what other models say alone, a rate above it may only warn.
  const isProvisional = verdicts.every(({ basis }) => basis === 'prior')
  return {
    id: 'em',
    title: 'Emergent misalignment',
    unit: '%',
    steps,
    curves,
    ...(!several &&
      low.some((value) => value !== null) && {
        band: { label: `${percent(verdicts[0]!.nominalCoverage, 0)} interval`, low, high: edge(1) },
      }),
    marks: [
      ...(threshold === undefined
        ? []
        : [
            {
              label: `${isProvisional ? 'provisional threshold' : 'alarm above'} ${percentAt(threshold)}`,
              value: 100 * threshold,
            },
          ]),
      ...(cut === undefined || cut === threshold
        ? []
        : [{ label: `dangerous above ${percentAt(cut)}`, value: 100 * cut }]),
    ],
    range: { min: 0, max: rates.reduce((max, rate) => Math.max(max, 100 * rate), EM_SCALE) },
  }
}

function marginChart(scene: Scene): ChartData | undefined {
  const { shown, steps, all } = scene
  const curves = curve(scene, shown.length > 1 ? '' : 'margin', ({ margin }) => margin?.change)
  if (curves.length === 0) return undefined
  const by = new Map(shown[0]!.points.map(({ step, margin }) => [step, margin?.interval]))
  const edge = (i: 0 | 1) => steps.map((step) => by.get(step)?.[i] ?? null)
  const low = edge(0)
  const reached = all.flatMap(({ points }) =>
    points.flatMap(({ margin }) => (margin ? [margin.change, ...(margin.interval ?? [])] : [])),
  )
  const thresholds = new Set(
    shown.flatMap(({ points }) => points.flatMap(({ verdict }) => verdict?.margin?.threshold ?? [])),
  )
  return {
    id: 'margin',
    title: 'Misaligned answers against aligned ones, nats per token',
    unit: '',
    steps,
    curves,
    ...(shown.length === 1 &&
      low.some((value) => value !== null) && { band: { label: '95 % interval', low, high: edge(1) } }),
    marks: [...thresholds].map((value) => ({ label: `alarm above ${signedNats(value)}`, value })),
    range: rangeOf([...reached, ...thresholds], []),
  }
}

function lossChart(scene: Scene): ChartData | undefined {
  const curves = curve(scene, scene.shown.length > 1 ? '' : 'loss', ({ loss }) => loss)
  if (curves.length === 0) return undefined
  return { id: 'loss', title: 'Training loss', unit: '', steps: scene.steps, curves, marks: [], range: {} }
}

function lengthChart(scene: Scene): ChartData {
  const { shown, all } = scene
  const strengths = [
    ...new Set(
      shown.flatMap(({ points }) =>
        points.flatMap(({ strengths = [] }) => strengths.map(({ strength }) => strength)),
      ),
    ),
  ]
  const curves = [
    ...curve(scene, shown.length > 1 ? '' : 'as trained', ({ length }) => 100 * length),
    // Of several runs it would be too much.
    ...(shown.length > 1 ? [] : strengths).flatMap((strength) =>
      curve(
        scene,
        `at strength ${strength}`,
        (point) => inPercent(point.strengths?.find((one) => one.strength === strength)?.length),
        'dashed',
      ),
    ),
  ]
  const shade = band(scene, (benign) => benign.length)
  const lengths = all.flatMap(({ points }) =>
    points.flatMap(({ length, strengths = [] }) => [length, ...strengths.map((one) => one.length)]),
  )
  return {
    id: 'length',
    title: 'Length of the drift',
    unit: '%',
    steps: scene.steps,
    curves,
    ...shade,
    marks: [],
    range: rangeOf(
      lengths.map((length) => 100 * length),
      [shade],
    ),
  }
}

function traitCharts(scene: Scene): ChartData[] {
  const { shown, steps, all } = scene
  const { traits } = shown[0]!
  const shades = traits.map((_, t) => band(scene, (benign) => benign.traits[t]!))
  // One scale for all traits: one that hardly moves is to look like it.
  const drifts = all.flatMap(({ points }) => points.flatMap(({ drift }) => drift.map((value) => 100 * value)))
  const range = rangeOf(drifts, shades)
  return traits.map((trait, t) => ({
    id: `trait-${t}`,
    title: trait,
    unit: '%',
    steps,
    curves: curve(scene, shown.length > 1 ? '' : 'drift', ({ drift }) => inPercent(drift[t])),
    ...shades[t],
    marks: [],
    range,
  }))
}

/** Holds zero, the values and the shades. */
function rangeOf(values: readonly number[], shades: readonly Pick<ChartData, 'band'>[]) {
  let [min, max] = [0, 1e-6]
  for (const value of [
    ...values,
    ...shades.flatMap(({ band }) => [...(band?.low ?? []), ...(band?.high ?? [])]),
  ]) {
    if (value === null || !Number.isFinite(value)) continue
    min = Math.min(min, value)
    max = Math.max(max, value)
  }
  return { min, max }
}

function band(
  { steps, behind }: Scene,
  of: (benign: NonNullable<Backdrop['benign']>) => readonly (readonly [number, number])[],
): Pick<ChartData, 'band'> {
  const benign = behind?.benign
  if (!benign) return {}
  const edges = of(benign)
  const at = steps.map((step) => bandAt(benign.steps, edges, step))
  return {
    band: {
      label: `${percent(benign.share, 0)} of ${benign.runs} benign runs`,
      low: at.map((one) => inPercent(one?.[0])),
      high: at.map((one) => inPercent(one?.[1])),
    },
  }
}
