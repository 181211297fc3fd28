import { withPeakMemory } from '../../dist/lib/bench/memory.js'
import { tokensOf } from './read-states.mjs'

/** Prompts and tokens per answer: a behaviour question set, answered shortly. */
const PROMPTS = 72
const TOKENS = 64
/** Prompts that are generated alone too, to compare. */
const VERIFIED = 3
const OPTIONS = { maxTokens: TOKENS, ignoreEos: true }

/** One after the other until the time is spent, spread over the list; the rest is extrapolated by tokens. */
async function oneAtATime(model, prompts, seconds) {
  const total = prompts.reduce((sum, { length }) => sum + length + TOKENS, 0)
  const done = { tokens: 0, computed: 0, decodeSeconds: 0 }
  const started = performance.now()
  const elapsed = () => (performance.now() - started) / 1000
  for (let i = 0; i < prompts.length && (i === 0 || elapsed() < seconds); i++) {
    const prompt = prompts[(i * 29) % prompts.length] // coprime to 72: every prompt once
    const { tokens, decodeSeconds } = await model.generate([prompt], OPTIONS)
    done.tokens += prompt.length + TOKENS
    done.computed += tokens.computed
    done.decodeSeconds += decodeSeconds
  }
  return {
    share: done.tokens / total,
    computed: done.computed,
    decodeSeconds: done.decodeSeconds,
    sequences: 1,
  }
}

async function atOnce(model, prompts) {
  const { generations, tokens, decodeSeconds, memory } = await model.generate(prompts, OPTIONS)
  return { share: 1, computed: tokens.computed, decodeSeconds, sequences: memory.sequences, generations }
}

export async function run(model, { variant, seconds }) {
  const prompts = (await tokensOf(model, 'evaluation')).slice(0, PROMPTS)
  await model.generate(prompts.slice(0, 1), { ...OPTIONS, maxTokens: 1 }) // reads the file into memory
  const cpuBefore = process.cpuUsage()
  const started = performance.now()
  const { result, peakBytes } = await withPeakMemory(() =>
    variant === 'all sequences at once' ? atOnce(model, prompts) : oneAtATime(model, prompts, seconds),
  )
  const wall = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(cpuBefore)
  const { share } = result
  let differing = 0
  for (const [p, [together]] of (result.generations ?? []).slice(0, VERIFIED).entries()) {
    const { generations } = await model.generate([prompts[p]], OPTIONS)
    if (generations[0][0].text !== together.text) differing++
  }
  return {
    seconds: [wall / share],
    cpuSeconds: [(user + system) / 1e6 / share],
    prompts: prompts.length,
    computedTokens: Math.round(result.computed / share),
    threads: model.threads,
    batchTokens: result.sequences,
    share,
    difference: differing / VERIFIED,
    overheadShare: 1 - result.decodeSeconds / wall,
    operations: null,
    peakAnonymousBytes: peakBytes ?? null,
  }
}
