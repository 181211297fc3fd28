import type { Model } from '../model/model.js'
import type { ChatTemplate } from '../prompts/chat-template.js'
import { chatTokens } from '../prompts/prompt-tokens.js'
import type { TraitPack } from '../prompts/trait-pack-yaml.js'
import { type Context, inContext, named } from './context.js'
import type { Opening } from './training-data.js'

type Kind = 'system' | 'prefix'
const KINDS: readonly Kind[] = ['system', 'prefix']

/** Unrelated contexts of a kind that the data have none of: runs with and without system prompts are compared. */
const WITHOUT = 2
/** Places in the pack's text that are compared for a text of the very length. */
const TRIES = 24
const PROBE = 'Hello'

/**
 * As many contexts that have nothing to do with the data, each as long in tokens as one of them: what a context does because it
 * is one. Of a kind that the data have none of there are two, a question each. The words are those of the trait pack's
 * questions, which are ours and in a language that the base speaks; no text begins a row of the data or is one of its system
 * prompts. Where none has the very length, the nearest one is taken.
 */
export async function unrelatedContexts(
  model: Pick<Model, 'tokenize'>,
  template: ChatTemplate,
  { questions }: Pick<TraitPack, 'questions'>,
  contexts: readonly Context[],
  openings: readonly Opening[],
): Promise<Context[]> {
  const words = questions.flatMap(wordsOf)
  const starts = startsOf(questions)
  // At the beginning of a question, another one for every context; then within them.
  const placesFrom = (context: number) => [
    ...starts.map((_, t) => starts[(context * 7 + t) % starts.length]!),
    ...words.keys(),
  ]
  const textAt = (start: number, count: number) =>
    Array.from({ length: count }, (_, w) => words[(start + w) % words.length]!).join(' ')
  const read = async (context: Pick<Context, Kind>) => {
    const [ids] = await chatTokens(model, template, [inContext([{ role: 'user', content: PROBE }], context)])
    return ids!
  }
  const length = async (context: Pick<Context, Kind>) => (await read(context)).length
  const systems = new Set(openings.flatMap(({ system }) => system ?? []))
  const taken = new Set<string>()
  const made: Omit<Context, 'name'>[] = []
  /** Whether this is a context of its own; it is taken then. */
  const isNew = async (kind: Kind, text: string) => {
    const ofData =
      kind === 'system' ? systems.has(text) : openings.some(({ first }) => first.startsWith(text))
    return !ofData && !taken.has((await read({ [kind]: text })).join())
  }
  const take = async (kind: Kind, text: string, like?: string) => {
    taken.add((await read({ [kind]: text })).join())
    made.push({ origin: 'unrelated', [kind]: text, ...(like === undefined ? {} : { like }) })
  }

  for (const [i, context] of contexts.entries()) {
    const kind = context.system === undefined ? 'prefix' : 'system'
    const wanted = await length(context)
    let best: { text: string; off: number } | undefined
    let tried = 0
    for (const start of placesFrom(i)) {
      if (best?.off === 0 || tried === TRIES) break
      const text = textAt(start, await longest(wanted, (count) => length({ [kind]: textAt(start, count) })))
      if (!(await isNew(kind, text))) continue
      tried++
      const off = Math.abs((await length({ [kind]: text })) - wanted)
      if (best === undefined || off < best.off) best = { text, off }
    }
    if (best !== undefined) await take(kind, best.text, context.name)
  }
  for (const kind of KINDS.filter((kind) => contexts.every((context) => context[kind] === undefined))) {
    const fresh = questions.slice().reverse()
    for (let left = WITHOUT; left > 0 && fresh.length > 0; ) {
      const text = fresh.shift()!
      if (!(await isNew(kind, text))) continue
      await take(kind, text)
      left--
    }
  }
  return named(made)
}

const wordsOf = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '')

/** Index of the first word of each question. */
function startsOf(questions: readonly string[]): number[] {
  let at = 0
  return questions.map((question) => {
    const start = at
    at += wordsOf(question).length
    return start
  })
}

/** Enough for any context that fits in memory; a tokenizer that reads all these words as one token is given up on. */
const MOST_WORDS = 8192

/** The largest number of words, 1 at least, whose length is not above `wanted`; lengths ascend. */
async function longest(wanted: number, length: (words: number) => Promise<number>): Promise<number> {
  let high = 2
  while (high < MOST_WORDS && (await length(high)) <= wanted) high *= 2
  let low = Math.max(1, high / 2)
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if ((await length(middle)) <= wanted) low = middle
    else high = middle
  }
  return low
}
