import { CONTENDERS } from '../../dist/lib/bench/contenders.js'
import { withPeakMemory } from '../../dist/lib/bench/memory.js'
import { neededOperations } from '../../dist/lib/bench/roofline.js'
import { bestTrial, largestDifference, warmUp } from '../../dist/lib/bench/search.js'
import { runTrial } from '../../dist/lib/bench/trial.js'
import {
  ChatTemplate,
  chatTokens,
  evaluationPrompts,
  extractionPrompts,
  loadTraitPack,
  selectTraits,
} from '../../dist/lib/index.js'

/** Prompts whose rows are compared with those of one prompt at a time before anything is timed. */
const VERIFIED = 4

export async function tokensOf(model, which) {
  const pack = await loadTraitPack('core')
  const template = ChatTemplate.forModel(model, { acknowledgement: pack.acknowledgement })
  const conversations =
    which === 'evaluation'
      ? evaluationPrompts(pack).map(({ messages }) => messages)
      : selectTraits(pack, 'core').flatMap((trait) => {
          const { positive, negative } = extractionPrompts(pack, trait)
          return [...positive, ...negative]
        })
  return chatTokens(model, template, conversations)
}

/** Settings are searched, the rows verified, then the pass is timed `rounds` times. */
export async function run(model, { operation, contender: name, layer, seconds, rounds }) {
  const contender = CONTENDERS.find((each) => each.name === name)
  const prompts = await tokensOf(model, operation.prompts)
  await warmUp(model, prompts, layer)
  const { result, peakBytes } = await withPeakMemory(async () => {
    const best = await bestTrial(model, contender, prompts, { layer, seconds })
    const { threads, batchTokens } = best
    const seen = [...best.rows.keys()].slice(0, VERIFIED)
    const reference = await runTrial(
      model,
      CONTENDERS[0],
      seen.map((p) => prompts[p]),
      { layer, threads, batchTokens, seconds: Number.POSITIVE_INFINITY },
    )
    const rows = new Map(seen.map((p, i) => [p, reference.rows.get(i)]))
    const trials = [best]
    while (trials.length < rounds) {
      trials.push(await runTrial(model, contender, prompts, { layer, threads, batchTokens, seconds }))
    }
    return { best, trials, difference: largestDifference(best, { rows }) }
  })
  const { best, trials, difference } = result
  return {
    seconds: trials.map((trial) => trial.seconds),
    prompts: prompts.length,
    tokens: prompts.reduce((sum, { length }) => sum + length, 0),
    computedTokens: best.computedTokens,
    batches: best.batches,
    threads: best.threads,
    batchTokens: best.batchTokens,
    share: best.share,
    difference,
    overheadShare: best.overheadSeconds / best.seconds,
    operations: contender.stopEarly ? neededOperations(model.gguf, layer, best) : null,
    peakAnonymousBytes: peakBytes ?? null,
  }
}
