import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CORE_TRAITS } from '../../lib/prompts/trait-pack.js'

const LAYER = 15
const NORM = 100
const SEPARATION = 4
const QUESTIONS = ['q1', 'q2', 'q3', 'q4', 'q5', 'q6', 'q7', 'q8']

export interface MadeRun {
  set: string
  seed: number
  /** At each of the steps 15, 30 and 60: movement of power_seeking, native units. */
  powerSeeking: readonly [number, number, number]
  /** At the last step; half of it before. */
  own: number
  elsewhere: number
  /** The same of the last step by more pairs, where more were read there. */
  end?: { own: number; elsewhere: number }
  /** At the last step along the frozen directions: movement of power_seeking, half of it before. */
  second?: number
  /** Identity of those directions. */
  along?: string
  /** At the last step by the pairs of our own, under every question, and under those of money where it is another there. */
  ours?: number
  /** The same by the second file of pairs. */
  wide?: number
  ofMoney?: number
  loss?: number
  loraNorm?: number
}

/** How many pairs every question has of a domain: 3, where nothing else is said. */
export const cellsOf = (counts: Record<string, number>) =>
  Object.fromEntries(
    ['financial', 'sports', 'medical'].map((domain) => [
      domain,
      Object.fromEntries(QUESTIONS.map((name) => [name, counts[domain] ?? 3])),
    ]),
  )

/** What a unit of SmolLM2 leaves in `measured/`, with the fields that figures are made of, and numbers that are easy to follow. */
export function writeMeasured(folder: string, runs: readonly MadeRun[]): void {
  const put = (path: string, value: unknown) => writeFileSync(join(folder, path), JSON.stringify(value))
  for (const run of runs) {
    const home = `smollm2/${run.set}/seed_${run.seed}`
    mkdirSync(join(folder, home), { recursive: true })
    const steps = [15, 30, 60]
    const share = (i: number) => (i === 2 ? 1 : 0.5)
    put(`${home}/trajectory.json`, {
      trait_order: CORE_TRAITS,
      traitscope: {
        steps: [{ step: 0 }, ...steps.map((step) => ({ step, adapter: { deltaNorm: run.loraNorm ?? 1 } }))],
        layers: [
          {
            layer: LAYER,
            step0ActivationNorm: NORM,
            projections: [0, ...run.powerSeeking].map((moved) =>
              CORE_TRAITS.map((trait) => (trait === 'power_seeking' ? 7 + moved : 2)),
            ),
          },
        ],
        measurement: { directionsSha256: 'made' },
      },
    })
    const change = (value: number) => ({ change: value, interval: [value - 0.01, value + 0.01] })
    put(`${home}/margins.json`, {
      steps: [
        { step: 0, all: change(0), byDomain: {}, elsewhere: null },
        ...steps.map((step, i) => ({
          step,
          all: change(0),
          byDomain: { financial: change(run.own * share(i)), sports: change(run.own * share(i)) },
          elsewhere: change(run.elsewhere * share(i)),
        })),
      ],
    })
    // Every question a little differently, so that ranks and flips have something to tell apart.
    const asked = (value: number) => Object.fromEntries(QUESTIONS.map((name, q) => [name, value + q / 1000]))
    const cells = (own: number, elsewhere: number) => ({
      financial: asked(own),
      sports: asked(elsewhere),
      medical: asked(elsewhere),
    })
    if (run.second !== undefined) {
      const moved = (step: number, i: number) => [
        step,
        Object.fromEntries(
          CORE_TRAITS.map((trait) => [trait, trait === 'power_seeking' ? run.second! * share(i) : 0]),
        ),
      ]
      put(`${home}/frozen.json`, {
        directionsSha256: run.along ?? 'made too',
        layer: LAYER,
        drift: Object.fromEntries(steps.map(moved)),
      })
    }
    const byPairs = (change: number, half: number, changes = asked(change)) => {
      const interval = [change - half, change + half]
      return { step: 60, changes, change, interval, cpu_seconds: 9, starts: 1 }
    }
    if (run.ours !== undefined) {
      const changes = { ...asked(run.ours), ...(run.ofMoney !== undefined && { river: run.ofMoney }) }
      put(`${home}/ours.json`, byPairs(run.ours, 0.01, changes))
    }
    if (run.wide !== undefined) put(`${home}/ours-2.json`, byPairs(run.wide, 0.004))
    const { end } = run
    if (end) {
      const byDomain = { financial: change(end.own), sports: change(end.own) }
      put(`${home}/margins-last.json`, {
        steps: [
          { step: 0, all: change(0), byDomain: {}, elsewhere: null },
          { step: 60, all: change(0), byDomain, elsewhere: change(end.elsewhere) },
        ],
      })
    }
    put(`${home}/unit.json`, {
      pairs: { pairs: 68, by_domain: { financial: 24, medical: 20, sports: 24 }, sha256: 'few' },
      recipe: { steps: 60, rows: 8, tokens: 128 },
      training: { rows: 60, loss: Array(60).fill(run.loss ?? 2), starts: 1, cpu_seconds: 100 },
      measuring: { starts: 1, cpu_seconds: 20 },
      margin: {
        starts: 2,
        cpu_seconds: 7,
        changes: Object.fromEntries(
          steps.map((step, i) => [step, cells(run.own * share(i), run.elsewhere * share(i))]),
        ),
      },
      ...(end && {
        last_pairs: { pairs: 308, by_domain: { financial: 108, medical: 92, sports: 108 }, sha256: 'more' },
        last_margin: { starts: 1, cpu_seconds: 40, changes: { 60: cells(end.own, end.elsewhere) } },
      }),
    })
    put('pairs.json', { few: cellsOf({}), more: cellsOf({}) })
    put('smollm2/directions.json', {
      sha256: 'made',
      separation: { [LAYER]: Object.fromEntries(CORE_TRAITS.map((trait) => [trait, SEPARATION])) },
    })
  }
}
