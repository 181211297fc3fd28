/** One respect in which a run was trained unlike the calibration runs. */
export interface ScopeDifference {
  /** E.g. `rank`, `learning rate`, `kind`. */
  what: string
  run: string
  calibration: string
}

/** How one checkpoint was trained, as far as its files say. */
export interface TrainedBy {
  kind: 'adapter' | 'all weights'
  /** Of an adapter. */
  rank?: number
  alpha?: number
  /** Distinct factors on the modules, ascending. */
  scales?: readonly number[]
  /** Names of the modules that it changes, in alphabetical order. */
  targets?: readonly string[]
  /** Highest that was logged. */
  learningRate?: number
  /** Whether its chat template is that of the measurement. */
  ownTemplate?: 'same' | 'another'
}

/** How the runs were trained that a detector learned from: of everything the values that were seen. */
export interface TrainedLike {
  kinds: TrainedBy['kind'][]
  ranks: number[]
  alphas: number[]
  /** Each as in {@link TrainedBy}, joined by commas. */
  scales: string[]
  targets: string[]
  /** Lowest and highest; null where no run says. */
  learningRates: [lowest: number, highest: number] | null
  templates: ('same' | 'another')[]
}

/** A learning rate above this many times all that were seen is another one. Below them may be a warm-up. */
const RATE_FACTOR = 2

/** The values that were seen, each once. */
export function trainedLike(all: readonly TrainedBy[]): TrainedLike {
  const seen = <T extends string | number>(of: (one: TrainedBy) => T | undefined): T[] =>
    [...new Set(all.flatMap((one) => of(one) ?? []))].sort((a, b) => (a < b ? -1 : 1))
  const rates = seen(({ learningRate }) => learningRate)
  return {
    kinds: seen(({ kind }) => kind),
    ranks: seen(({ rank }) => rank),
    alphas: seen(({ alpha }) => alpha),
    scales: seen(({ scales }) => scales?.join(', ')),
    targets: seen(({ targets }) => targets?.join(', ')),
    learningRates: rates.length === 0 ? null : [Math.min(...rates), Math.max(...rates)],
    templates: seen(({ ownTemplate }) => ownTemplate),
  }
}

/** Every respect in which a checkpoint was trained unlike the runs that a detector learned from; empty when alike. */
export function scopeDifferences(like: TrainedLike, one: TrainedBy): ScopeDifference[] {
  const found: ScopeDifference[] = []
  const check = (what: string, value: string | number | undefined, known: readonly (string | number)[]) => {
    if (value === undefined || known.length === 0 || known.includes(value)) return
    found.push({ what, run: String(value), calibration: known.join(' or ') })
  }
  check('kind of training', one.kind, like.kinds)
  check('rank', one.rank, like.ranks)
  check('alpha', one.alpha, like.alphas)
  check('scale', one.scales?.join(', '), like.scales)
  check('targets', one.targets?.join(', '), like.targets)
  check('chat template', one.ownTemplate, like.templates)
  const { learningRate: rate } = one
  if (rate !== undefined && like.learningRates !== null) {
    const [lowest, highest] = like.learningRates
    if (rate > highest * RATE_FACTOR) {
      const seen = lowest === highest ? String(lowest) : `${lowest} to ${highest}`
      found.push({ what: 'learning rate', run: String(rate), calibration: seen })
    }
  }
  return found
}

/** The differences as half a sentence: `rank 64 (calibration: 16)`. */
export function scopeSentence(differences: readonly ScopeDifference[]): string {
  const each = differences.map(({ what, run, calibration }) => `${what} ${run} (calibration: ${calibration})`)
  return `trained unlike the calibration runs: ${each.join('; ')}`
}
