import type { BasePoint, MeasuredUnder } from '../conditions/calibrated-for.js'
import type { Directions } from '../directions/directions.js'
import { TraitscopeError } from '../errors.js'
import { Mt19937 } from '../estimators/mt19937.js'
import type { HiddenStates } from '../hidden-states/hidden-states.js'
import type { Settled } from './trajectory.js'

/** Decides when enough prompts of a checkpoint were read. */
export interface StopRule {
  /** SHA-256 of everything that decides it. */
  readonly sha256: string
  /** Probability that what is settled is wrong, in (0, 1). */
  readonly error: number
  /**
   * @param count of all prompts
   * @param share below which part of the threshold a rate has to lie where it lies below; default 1
   */
  begin(count: number, share?: number): Stopping
}

/** One checkpoint's. */
export interface Stopping {
  /**
   * Takes more prompts.
   *
   * @param drifts one for each, layers side by side in trait order, in units of the step-0 activation norms
   * @returns what is settled; undefined when more have to be read
   */
  take(drifts: readonly (readonly number[])[]): Settled | undefined
}

/** What is known once step 0 was measured: what a stop rule is made from. */
export interface MeasuredBase {
  directions: Directions
  measured: MeasuredUnder & { nPrompts: number }
  /** Per layer of the directions. */
  base: BasePoint[]
}

/**
 * Refuses what takes all prompts of a checkpoint, where a part of them may settle a verdict: states are kept of all, and what is read at
 * other strengths or in contexts is compared with all.
 *
 * @throws TraitscopeError USAGE
 */
export function refuseBesideSettling({
  strengths = [],
  contexts,
  activations = 'none',
}: {
  strengths?: readonly number[] | undefined
  contexts?: unknown
  activations?: string | undefined
}): void {
  if (activations !== 'none') {
    throw new TraitscopeError(
      'USAGE',
      `expected activations none where a part of the prompts may settle a verdict, found ${activations}; read all prompts (without --settle) to keep their states`,
    )
  }
  if (strengths.length === 0 && contexts === undefined) return
  throw new TraitscopeError(
    'USAGE',
    `expected checkpoints that are read as trained and in no context, so that a part of the prompts can settle a verdict, found ${contexts ? 'contexts' : 'several strengths of the adapter'}; read all prompts (without --settle)`,
  )
}

/** Prompts are read in so many parts: one more costs the prefix that prompts share once more. */
const PARTS = 8

/** States of the prompts that were read, and which these are; undefined for all of them. */
export interface PartialStates {
  data: Float32Array
  rows: readonly number[] | undefined
  settled: Settled | undefined
  tokens: { total: number; computed: number }
}

/**
 * Reads prompts part by part, in an order that no prompt and no checkpoint has a say in, until what they are read for is settled.
 *
 * @param seed 64 hex digits; the order is theirs
 * @param shape `[nPrompts, nLayers, nEmbd]` of all states
 * @param read states of some prompts, in their order; told the share of the parts that were read
 * @param settle told the states of the prompts that have come: `[part, nLayers, nEmbd]`, and their indices
 */
export async function readInParts(
  seed: string,
  [count, ...row]: readonly [number, number, number],
  read: (at: readonly number[], done: number) => Promise<Pick<HiddenStates, 'data' | 'tokens'>>,
  settle: (data: Float32Array, at: readonly number[]) => Settled | undefined,
): Promise<PartialStates> {
  const size = row[0] * row[1]
  const order = new Mt19937(Number.parseInt(seed.slice(0, 8), 16)).permutation(count)
  const all = new Float32Array(count * size)
  const tokens = { total: 0, computed: 0 }
  for (let part = 0, from = 0; part < PARTS; part++) {
    const to = Math.ceil(((part + 1) * count) / PARTS)
    const at = [...order.subarray(from, to)].sort((a, b) => a - b)
    if (at.length === 0) continue
    from = to
    const states = await read(at, part / PARTS)
    for (const [i, prompt] of at.entries())
      all.set(states.data.subarray(i * size, (i + 1) * size), prompt * size)
    tokens.total += states.tokens.total
    tokens.computed += states.tokens.computed
    const settled = to < count ? settle(states.data, at) : undefined
    if (settled === undefined) continue
    const rows = [...order.subarray(0, to)].sort((a, b) => a - b)
    return { data: pickRows(all, rows, size), rows, settled, tokens }
  }
  return { data: all, rows: undefined, settled: undefined, tokens }
}

/** Some rows of a matrix, one after another. */
export function pickRows(data: Float32Array, rows: readonly number[], size: number): Float32Array {
  const picked = new Float32Array(rows.length * size)
  for (const [i, at] of rows.entries()) picked.set(data.subarray(at * size, (at + 1) * size), i * size)
  return picked
}
