import { MAX_SEQUENCES } from '../model/placement.js'
import type { PlanBatch } from '../prompts/plan.js'
import { planPrompts } from '../prompts/plan.js'

/** A way to compute the same rows. Each variant adds one idea to the one before it. */
export interface Variant {
  readonly name: string
  /** Batches that hold every prompt once; row p of the result belongs to prompt p. */
  readonly plan: (prompts: readonly Int32Array[], maxTokens: number) => PlanBatch[]
  /** Whether the graph ends at the layer that is read. */
  readonly stopEarly: boolean
  /** Whether a batch is computed in groups, and complete sequences are forgotten between them. */
  readonly inGroups: boolean
  /** Whether tokens that no row reads may leave out the rest of that layer's block. */
  readonly contextFirst: boolean
}

const tree: Variant['plan'] = (prompts, maxTokens) =>
  planPrompts(prompts, { maxTokens, pool: 'last' }).batches

const treeInGroups: Variant['plan'] = (prompts, maxTokens) =>
  planPrompts(prompts, { maxTokens, inGroups: true, pool: 'last' }).batches

/** What a user would write first, then what traitscope does, idea by idea. */
export const VARIANTS: readonly Variant[] = [
  {
    name: 'one prompt at a time',
    plan: (prompts) => joined(prompts, 0),
    stopEarly: false,
    inGroups: false,
    contextFirst: false,
  },
  { name: 'batched', plan: joined, stopEarly: false, inGroups: false, contextFirst: false },
  { name: '+ prefix tree', plan: tree, stopEarly: false, inGroups: false, contextFirst: false },
  { name: '+ early stop', plan: tree, stopEarly: true, inGroups: false, contextFirst: false },
  { name: '+ groups', plan: treeInGroups, stopEarly: true, inGroups: true, contextFirst: false },
  { name: '+ context first', plan: treeInGroups, stopEarly: true, inGroups: true, contextFirst: true },
]

/** Prompts side by side, each a sequence of its own that shares nothing; a batch holds at least one. */
function joined(prompts: readonly Int32Array[], maxTokens: number): PlanBatch[] {
  const batches: PlanBatch[] = []
  for (let begin = 0; begin < prompts.length; ) {
    let end = begin
    let nTokens = 0
    do nTokens += prompts[end++]!.length
    while (end < prompts.length && end - begin < MAX_SEQUENCES && nTokens + prompts[end]!.length <= maxTokens)
    batches.push(sideBySide(prompts.slice(begin, end), begin))
    begin = end
  }
  return batches
}

function sideBySide(prompts: readonly Int32Array[], firstRow: number): PlanBatch {
  const lastTokens: number[] = []
  let nTokens = 0
  for (const prompt of prompts) {
    nTokens += prompt.length
    lastTokens.push(nTokens - 1)
  }
  const index = (length: number) => Int32Array.from({ length }, (_, i) => i)
  return {
    tokens: Int32Array.from(prompts.flatMap((prompt) => [...prompt])),
    positions: Int32Array.from(prompts.flatMap((prompt) => [...prompt.keys()])),
    seqOffsets: index(nTokens + 1),
    seqIds: Int32Array.from(prompts.flatMap((prompt, id) => Array.from(prompt, () => id))),
    rowOffsets: index(prompts.length + 1),
    rowTokens: Int32Array.from(lastTokens),
    outputRows: index(prompts.length).map((row) => firstRow + row),
  }
}
