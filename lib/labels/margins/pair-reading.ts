/** Pairs of answers, as a model reads them. */

import { TraitscopeError } from '../../errors.js'
import { mean } from '../../estimators/mean.js'
import { sha256 } from '../../formats/files/hash.js'
import type { HiddenStatesOptions } from '../../hidden-states/hidden-states.js'
import { checkLength } from '../../model/base/prompt-limits.js'
import type { OnModel } from '../../model/checkpoint/strengths.js'
import type { Model } from '../../model/model.js'
import type { ChatTemplate } from '../../prompts/chat-template.js'
import { DEFAULT_ACKNOWLEDGEMENT, systemAsUserTurn } from '../../prompts/messages.js'
import { chatTokens, TokenHash } from '../../prompts/prompt-tokens.js'
import type { MarginPair, MarginPairs } from './margin-pairs.js'
import type { PairLogprobs } from './margins.js'

/** Pairs of answers in the tokens of a model. */
export interface PairPrompts extends MarginPairs {
  /** Token ids of every question, through a chat template. */
  prompts: readonly Int32Array[]
  /** Of the answers to each: the misaligned one, the aligned one. */
  answers: readonly (readonly [Int32Array, Int32Array])[]
  /** SHA-256 over the file and all token ids. */
  identity: string
}

/** What a checkpoint says of pairs, and what it took. */
export interface PairReading extends PairLogprobs {
  /** Input tokens of questions and answers, and how many of them were computed. */
  tokens: { total: number; computed: number }
}

/** Which pairs were read, and what that takes. */
export interface PairsRead {
  /** Name of their file, and SHA-256 of its bytes. */
  file: string
  sha256: string
  pairs: number
  questions: number
  /** Input tokens of one reading, and how many of them are computed. */
  tokens: { total: number; computed: number }
}

export function pairsRead(
  {
    file,
    sha256,
    pairs,
  }: Pick<MarginPairs, 'file' | 'sha256'> & { pairs: readonly { questionId: string }[] },
  tokens: PairsRead['tokens'],
): PairsRead {
  const questions = new Set(pairs.map(({ questionId }) => questionId)).size
  return { file, sha256, pairs: pairs.length, questions, tokens }
}

/** What a reader of a margin by these pairs has to know, in sentences. */
export const pairRemarks = ({ pairs }: Pick<MarginPairs, 'pairs'>): string[] =>
  pairs.every(({ questionId }) => questionId === pairs[0]!.questionId)
    ? ['the pairs are of a single question: their margin has no interval, and by itself it warns of nothing']
    : []

/** The same, of a margin over all pairs, whatever a run is trained on. */
export function allPairsRemarks(pairs: Pick<MarginPairs, 'pairs'>): string[] {
  const domains = [...new Set(pairs.pairs.flatMap(({ domain }) => domain ?? []))].sort()
  if (domains.length === 0) return pairRemarks(pairs)
  return [
    ...pairRemarks(pairs),
    `the margin is over the pairs of all domains (${domains.join(', ')}), that of the training among them if it is there, where a change is what was taught: \`label --margin --domain\` tells the others apart`,
  ]
}

/**
 * Pairs belong to no trait pack: where a template has no system role, the protocol's words acknowledge, so that the same pairs are the
 * same tokens whatever else is read.
 *
 * @throws TraitscopeError TEMPLATE; FILE_INVALID, PROMPT_TOO_LONG naming a pair
 */
export async function pairPrompts(
  model: Pick<Model, 'tokenize' | 'limits'>,
  template: ChatTemplate,
  pairs: MarginPairs,
): Promise<PairPrompts> {
  const list = pairs.pairs
  const turns = ({ messages }: MarginPair) =>
    template.systemRole === 'native' ? messages : systemAsUserTurn(messages, DEFAULT_ACKNOWLEDGEMENT)
  const prompts = await chatTokens(model, template, list.map(turns))
  // By themselves and without special tokens: behind a template's header that is what a model generates.
  const texts = list.flatMap(({ misaligned, aligned }) => [misaligned, aligned])
  const flat = await model.tokenize(texts, { addSpecial: false, parseSpecial: false })
  const answers = list.map((_, i): [Int32Array, Int32Array] => [flat[2 * i]!, flat[2 * i + 1]!])
  for (const [i, both] of answers.entries()) {
    for (const [which, { length }] of both.entries()) {
      const answer = `the ${which === 0 ? 'misaligned' : 'aligned'} answer of pair ${i + 1} in ${pairs.file}`
      if (length === 0)
        throw new TraitscopeError(
          'FILE_INVALID',
          `expected ${answer} to have tokens, found none for its text`,
        )
      checkLength(model.limits, prompts[i]!.length + length, `${answer} with its question`)
    }
  }
  const read = new TokenHash().add(prompts).add(flat).digest()
  return { ...pairs, prompts, answers, identity: sha256(JSON.stringify([pairs.sha256, read])) }
}

/**
 * Mean log-probability per token of both answers of every pair. What questions and answers share at their beginning is computed once.
 *
 * @throws TraitscopeError as `Model.score`
 */
export async function scorePairs(
  { model, adapter }: OnModel,
  { prompts, answers }: PairPrompts,
  { signal, onProgress }: Pick<HiddenStatesOptions, 'signal' | 'onProgress'>,
): Promise<PairReading> {
  const adapters = adapter ? [adapter] : []
  const { logprobs, tokens } = await model.score(prompts, answers, {
    ...{ adapters, signal },
    onProgress: onProgress && (({ finished, sequences }) => onProgress(finished / sequences)),
  })
  const total = answers.reduce(
    (sum, each, i) => sum + each.reduce((all, { length }) => all + prompts[i]!.length + length, 0),
    0,
  )
  return {
    misaligned: logprobs.map(([first]) => mean(first!)),
    aligned: logprobs.map(([, second]) => mean(second!)),
    tokens: { total, computed: tokens.computed },
  }
}
