import { withPeakMemory } from '../../dist/lib/bench/memory.js'
import { neededOperations } from '../../dist/lib/bench/roofline.js'
import { bestTrial, largestDifference, warmUp } from '../../dist/lib/bench/search.js'
import { runTrial } from '../../dist/lib/bench/trial.js'
import { VARIANTS } from '../../dist/lib/bench/variants.js'
import {
  ChatTemplate,
  chatTokens,
  evaluationPrompts,
  loadTraitPack,
  selectTraits,
} from '../../dist/lib/index.js'
import { extractionPrompts } from '../../dist/lib/prompts/prompt-sets.js'

/** Prompts whose rows are compared with those of one prompt at a time afterwards. */
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

/** Settings that are not fixed are searched, the pass is timed and its rows are verified. */
export async function run(model, { operation, variant: name, layer, seconds, ...choices }) {
  const variant = VARIANTS.find((each) => each.name === name)
  const prompts = await tokensOf(model, operation.prompts)
  await warmUp(model, prompts, layer)
  const { result: best, peakBytes } = await withPeakMemory(() =>
    bestTrial(model, variant, prompts, {
      layer,
      seconds,
      threads: choices.threads,
      batchTokens: choices.batchTokens,
    }),
  )
  const { threads, batchTokens } = best
  const seen = [...best.rows.keys()].slice(0, VERIFIED)
  const reference = await runTrial(
    model,
    VARIANTS[0],
    seen.map((p) => prompts[p]),
    { layer, threads, batchTokens, seconds: Number.POSITIVE_INFINITY },
  )
  const rows = new Map(seen.map((p, i) => [p, reference.rows.get(i)]))
  return {
    seconds: [best.seconds],
    cpuSeconds: [best.cpuSeconds],
    prompts: prompts.length,
    tokens: prompts.reduce((sum, { length }) => sum + length, 0),
    computedTokens: best.computedTokens,
    batches: best.batches,
    threads,
    batchTokens,
    share: best.share,
    difference: largestDifference(best, { rows }),
    overheadShare: best.overheadSeconds / best.seconds,
    operations: variant.stopEarly ? neededOperations(model.gguf, layer, best) : null,
    peakAnonymousBytes: peakBytes ?? null,
  }
}
