/** What a layer was chosen by. */
import type { HeldOut } from '../directions/held-out.js'
import type { JudgeIdentity } from '../labels/judges/judge-identity.js'
import type { Divergence } from './divergence.js'
import type { DoseJudgement } from './dose-grid.js'

/**
 * `semantic`: what a judge says of steered answers. `divergence`: how far steering moves answers. `held-out`: how well directions order
 * prompts that they were not made of.
 */
export const SELECTION_METHODS = ['semantic', 'divergence', 'held-out'] as const
/** See {@link SELECTION_METHODS}. */
export type SelectionMethod = (typeof SELECTION_METHODS)[number]

/** A chosen layer, and everything that was computed on the way. */
export interface LayerSelection {
  /** The base's name, or its architecture. */
  model: string
  baseFingerprint: string
  layer: number
  /** What it was chosen by: not what was asked for where that gave nothing to choose by. */
  by: SelectionMethod
  /** The choice in plain sentences. */
  explanation: string
  /** 0-based blocks, ascending; lists by layer are in this order. */
  candidates: readonly number[]
  traits: readonly string[]
  /** R: mean length of the states that directions were made of, layer by layer. */
  activationNorms: number[]
  /** Accuracy of the diagnostic probe, layer by layer, trait to value; null where there was too little to fit. */
  probeAccuracy: Record<string, number | null>[]
  heldOut: Record<string, HeldOut | null>[]
  /** Mean AUROC over traits, held out by question and system prompt, or by question where that is all there is; null without any. */
  meanHeldOut: (number | null)[]
  /** Null where it was not asked for. */
  divergence: Divergence | null
  /** Judged doses, from the largest down; null without a judge. */
  doses: DoseJudgement[] | null
  /** Smaller ones of the grid, left out because a larger one is coherent; null without a judge. */
  dosesNotTried: number[] | null
  /** The largest dose that keeps answers coherent at every candidate; null where none does. */
  chosenDose: number | null
  judge: JudgeIdentity | null
  suite: { source: string; sha256: string; promptsPerTrait: number } | null
  passagesSha256: string | null
  /** Of the directions at all candidates. */
  directionsSha256: string
}

/** What each candidate scores by one of the ways; undefined where that way says nothing. */
export function scoresBy(
  { divergence, doses, chosenDose, meanHeldOut }: Omit<LayerSelection, 'layer' | 'by' | 'explanation'>,
  method: SelectionMethod,
): number[] | undefined {
  if (method === 'divergence') return divergence?.mean
  if (method === 'semantic') {
    const layers = doses?.find(({ dose }) => dose === chosenDose)?.layers
    // A judge that tells no two answers apart prefers no layer.
    const tellsApart = layers?.some(({ pairs, ties, unread }) => pairs > ties + unread)
    return tellsApart ? layers!.map(({ score }) => score) : undefined
  }
  return meanHeldOut.every((value) => value !== null) ? (meanHeldOut as number[]) : undefined
}

/**
 * Index of the best score. Of equal ones the first, as the reference's first release has it, or by a judge's score the one nearest to the
 * middle of the candidates, and of these the lower.
 */
export function bestOf(
  scores: readonly number[],
  candidates: readonly number[],
  method: SelectionMethod,
): number {
  const top = Math.max(...scores)
  const equal = scores.flatMap((score, i) => (score === top ? [i] : []))
  if (method !== 'semantic') return equal[0]!
  const middle = (candidates[0]! + candidates.at(-1)!) / 2
  const away = (i: number) => Math.abs(candidates[i]! - middle)
  return equal.reduce((best, i) => (away(i) < away(best) ? i : best))
}

/**
 * Candidates where nobody names them: of up to eight blocks all, else up to seven between 0.4 and 0.8 of the depth.
 */
export function candidateLayers(nLayer: number): number[] {
  if (nLayer <= 8) return Array.from({ length: nLayer }, (_, i) => i)
  const [low, high] = [Math.round(0.4 * nLayer), Math.round(0.8 * nLayer)]
  const count = Math.min(7, high - low + 1)
  return Array.from({ length: count }, (_, i) => Math.round(low + (i * (high - low)) / (count - 1)))
}
