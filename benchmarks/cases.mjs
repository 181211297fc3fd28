// What is measured: operations x variants x models. A trial is one of each, in a process of its own.
import { VARIANTS } from '../dist/lib/bench/variants.js'

/** Ways to compute the same states, by name; benchmarks/operations/read-states.mjs runs them. */
const ways = VARIANTS.map(({ name }) => name)

export const OPERATIONS = {
  /** The evaluation prompts of the core pack: the pass that every checkpoint gets. */
  evaluate: { module: './operations/read-states.mjs', prompts: 'evaluation', variants: ways },
  /** The extraction prompts of the core pack: the pass that makes directions, once per base. */
  extract: { module: './operations/read-states.mjs', prompts: 'extraction', variants: ways },
  /** A rank-16 adapter on the query and value projections, in and out. */
  swap: { module: './operations/swap-adapter.mjs', variants: ['swap'] },
  /** 72 answers of 64 tokens each, greedy. */
  generate: {
    module: './operations/generate.mjs',
    prompts: 'evaluation',
    variants: ['one sequence at a time', 'all sequences at once'],
  },
  /** The largest matrix of a block times 512 rows: the roof. */
  matmul: { module: './operations/matmul.mjs', variants: ['alone'] },
}
