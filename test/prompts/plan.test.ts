import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isTraitscopeError } from '../../lib/errors.js'
import type { PlanBatch, Pooling, PromptPlan } from '../../lib/prompts/plan.js'
import { planPrompts } from '../../lib/prompts/plan.js'

const ids = (...tokens: number[]) => Int32Array.from(tokens)

/** Small alphabets and lengths, so that prefixes, duplicates and prompts that start others are common. */
const somePrompts = fc.array(
  fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 9 }).map((tokens) => ids(...tokens)),
  { maxLength: 40 },
)
const someOptions = fc.record({
  maxTokens: fc.integer({ min: 9, max: 40 }),
  maxSequences: fc.integer({ min: 1, max: 8 }),
  pool: fc.constantFrom<Pooling>('last', 'mean', 'tokens'),
})
const runs = { seed: 1, numRuns: 400 }

const sequencesOf = (batch: PlanBatch, token: number) =>
  batch.seqIds.subarray(batch.seqOffsets[token]!, batch.seqOffsets[token + 1]!)

/** What llama.cpp lets a token see: cells that its FIRST id owns, at positions up to its own. */
function historyOf(batch: PlanBatch, token: number): number[] {
  const first = sequencesOf(batch, token)[0]!
  const seen: { position: number; token: number }[] = []
  for (let j = 0; j < batch.tokens.length; j++) {
    if (batch.positions[j]! <= batch.positions[token]! && sequencesOf(batch, j).includes(first)) {
      seen.push({ position: batch.positions[j]!, token: batch.tokens[j]! })
    }
  }
  seen.sort((a, b) => a.position - b.position)
  expect(seen.map(({ position }) => position)).toEqual(seen.map((_, index) => index))
  return seen.map((cell) => cell.token)
}

/** Result rows, each a list of the token histories that are pooled into it. */
function replay(plan: PromptPlan): number[][][] {
  const rows: number[][][] = Array.from({ length: plan.nRows }, () => [])
  for (const batch of plan.batches) {
    batch.outputRows.forEach((row, k) => {
      expect(rows[row]).toEqual([])
      const pooled = batch.rowTokens.subarray(batch.rowOffsets[k]!, batch.rowOffsets[k + 1]!)
      rows[row] = Array.from(pooled, (token) => historyOf(batch, token))
    })
  }
  return rows
}

function expectedRows(prompts: readonly Int32Array[], pool: Pooling): number[][][] {
  return prompts.flatMap((prompt) => {
    const prefixes = Array.from(prompt, (_, i) => Array.from(prompt.subarray(0, i + 1)))
    if (pool === 'last') return [[prefixes.at(-1)!]]
    return pool === 'mean' ? [prefixes] : prefixes.map((prefix) => [prefix])
  })
}

const trieNodes = (prompts: readonly Int32Array[]) =>
  new Set(prompts.flatMap((prompt) => Array.from(prompt, (_, i) => prompt.subarray(0, i + 1).join(' ')))).size

describe('planPrompts', () => {
  it('should give every row exactly the token history of its prompt', () => {
    fc.assert(
      fc.property(somePrompts, someOptions, (prompts, options) => {
        expect(replay(planPrompts(prompts, options))).toEqual(expectedRows(prompts, options.pool))
      }),
      runs,
    )
  })

  it('should keep the batch rules of llama.cpp', () => {
    fc.assert(
      fc.property(somePrompts, someOptions, (prompts, options) => {
        for (const batch of planPrompts(prompts, options).batches) {
          expect(batch.tokens.length).toBeLessThanOrEqual(options.maxTokens)
          const next = new Map<number, number>()
          for (let i = 0; i < batch.tokens.length; i++) {
            const own = Array.from(sequencesOf(batch, i))
            expect(own.length).toBeGreaterThan(0)
            expect(own).toEqual(own.map((_, k) => own[0]! + k))
            // Per sequence positions start at 0 and go up by one in batch order, so parents come first.
            for (const id of own) {
              expect(batch.positions[i]).toBe(next.get(id) ?? 0)
              next.set(id, batch.positions[i]! + 1)
            }
          }
          expect(next.size).toBeLessThanOrEqual(options.maxSequences)
          expect([...next.keys()].sort((a, b) => a - b)).toEqual([...next.keys()].map((_, k) => k))
        }
      }),
      runs,
    )
  })

  it('should nest the sequence sets of children in those of their parents', () => {
    fc.assert(
      fc.property(somePrompts, someOptions, (prompts, options) => {
        for (const batch of planPrompts(prompts, options).batches) {
          for (let i = 0; i < batch.tokens.length; i++) {
            const own = Array.from(sequencesOf(batch, i))
            for (let j = 0; j < batch.tokens.length; j++) {
              const other = Array.from(sequencesOf(batch, j))
              if (batch.positions[j]! < batch.positions[i]! && other.includes(own[0]!)) {
                expect(other).toEqual(expect.arrayContaining(own))
              }
            }
          }
        }
      }),
      { ...runs, numRuns: 100 },
    )
  })

  it('should count all tokens, and compute one per node of the prefix tree when one batch holds them', () => {
    fc.assert(
      fc.property(somePrompts, (prompts) => {
        const plan = planPrompts(prompts, { maxTokens: 400, pool: 'last' })
        const total = prompts.reduce((sum, prompt) => sum + prompt.length, 0)
        expect(plan.tokens).toEqual({ total, computed: trieNodes(prompts) })
        expect(plan.batches.length).toBe(prompts.length === 0 ? 0 : 1)
      }),
      runs,
    )
  })

  it('should choose the cheapest cuts of the sorted prompts', () => {
    const few = fc.array(
      fc
        .array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 6 })
        .map((tokens) => ids(...tokens)),
      { minLength: 1, maxLength: 8 },
    )
    fc.assert(
      fc.property(few, fc.integer({ min: 6, max: 14 }), (prompts, maxTokens) => {
        const plan = planPrompts(prompts, { maxTokens, pool: 'last' })
        const sorted = [...prompts].sort((a, b) => {
          const i = a.findIndex((token, at) => token !== b[at])
          return i < 0 || i >= b.length ? a.length - b.length : a[i]! - b[i]!
        })
        let cheapest = Number.POSITIVE_INFINITY
        for (let cuts = 0; cuts < 2 ** (sorted.length - 1); cuts++) {
          const groups: Int32Array[][] = [[]]
          sorted.forEach((prompt, i) => {
            groups.at(-1)!.push(prompt)
            if (i < sorted.length - 1 && cuts & (1 << i)) groups.push([])
          })
          const sizes = groups.map(trieNodes)
          if (sizes.some((size) => size > maxTokens)) continue
          cheapest = Math.min(cheapest, sizes.reduce((sum, size) => sum + size, 0) + 32 * groups.length)
        }
        expect(plan.tokens.computed + 32 * plan.batches.length).toBe(cheapest)
      }),
      { seed: 1, numRuns: 200 },
    )
  })

  it('should let identical prompts share everything and need one sequence', () => {
    const plan = planPrompts([ids(5, 6), ids(5, 6), ids(5, 6)], {
      maxTokens: 2,
      maxSequences: 1,
      pool: 'last',
    })
    expect(plan.batches).toEqual([
      {
        tokens: ids(5, 6),
        positions: ids(0, 1),
        seqOffsets: ids(0, 1, 2),
        seqIds: ids(0, 0),
        rowOffsets: ids(0, 1, 2, 3),
        rowTokens: ids(1, 1, 1),
        outputRows: ids(0, 1, 2),
      },
    ])
    expect(plan.tokens).toEqual({ total: 6, computed: 2 })
  })

  it('should lay out a small tree depth first, rows in the original order', () => {
    const plan = planPrompts([ids(1, 3), ids(1, 2, 9), ids(1, 2)], { maxTokens: 8, pool: 'mean' })
    expect(plan.batches).toEqual([
      {
        tokens: ids(1, 2, 9, 3),
        positions: ids(0, 1, 2, 1),
        seqOffsets: ids(0, 2, 3, 4, 5),
        seqIds: ids(0, 1, 0, 0, 1),
        rowOffsets: ids(0, 2, 5, 7),
        rowTokens: ids(0, 1, 0, 1, 2, 0, 3),
        outputRows: ids(2, 1, 0),
      },
    ])
    expect(plan.promptRows).toEqual(ids(0, 1, 2, 3))
  })

  it('should give one row per token when asked for tokens', () => {
    const plan = planPrompts([ids(7, 8, 9), ids(7)], { maxTokens: 8, pool: 'tokens' })
    expect(plan.nRows).toBe(4)
    expect(plan.promptRows).toEqual(ids(0, 3, 4))
  })

  it('should give the same plan for the same prompts', () => {
    fc.assert(
      fc.property(somePrompts, someOptions, (prompts, options) => {
        expect(planPrompts(prompts, options)).toEqual(planPrompts(prompts, options))
      }),
      { seed: 1, numRuns: 50 },
    )
  })

  it('should plan no batches for no prompts', () => {
    expect(planPrompts([], { maxTokens: 8, pool: 'last' })).toEqual({
      batches: [],
      nRows: 0,
      promptRows: ids(0),
      tokens: { total: 0, computed: 0 },
    })
  })

  it('should never use more than 256 sequences in a batch', () => {
    const prompts = Array.from({ length: 600 }, (_, i) => ids(1, 2, i + 10))
    const plan = planPrompts(prompts, { maxTokens: 4096, pool: 'last' })
    expect(plan.batches.map((batch) => Math.max(...batch.seqIds) + 1)).toEqual([88, 256, 256])
    expect(plan.tokens.computed).toBe(600 + 3 * 2)
  })

  it('should put any number of tokens in a batch that is computed in groups, unless rows are means', () => {
    const prompts = Array.from({ length: 200 }, (_, i) => ids(1, 2, 3, i + 10))
    const tokens = (pool: Pooling) => {
      const plan = planPrompts(prompts, { maxTokens: 8, inGroups: true, pool })
      return plan.batches.map((batch) => batch.tokens.length)
    }
    expect(tokens('last')).toEqual([203])
    expect(tokens('tokens')).toEqual([203])
    expect(tokens('mean')).toEqual(Array.from({ length: 40 }, () => 8))
  })

  it('should plan 2,100 prompts of 100 tokens at once', () => {
    const prompts = Array.from({ length: 2100 }, (_, i) =>
      Int32Array.from({ length: 100 }, (_, p) =>
        p < 20 ? p : p < 60 ? 1000 + (i % 70) * 50 + p : i * 7 + p,
      ),
    )
    const { batches } = planPrompts(prompts, { maxTokens: 2048, pool: 'mean' })
    const rows = batches.flatMap(({ outputRows }) => [...outputRows])
    expect(rows.sort((a, b) => a - b)).toEqual([...prompts.keys()])
    expect(Math.max(...batches.map(({ tokens }) => tokens.length))).toBeLessThanOrEqual(2048)
    // 40 tokens of each are its own; what it shares with others is computed once a batch.
    const computed = batches.reduce((sum, { tokens }) => sum + tokens.length, 0)
    expect(computed).toBeLessThan(2100 * 45)
  })

  const refusals: [title: string, run: () => unknown, code: 'USAGE' | 'PROMPT_TOO_LONG', text: RegExp][] = [
    [
      'an empty prompt',
      () => planPrompts([ids(1), ids()], { maxTokens: 8, pool: 'last' }),
      'USAGE',
      /prompt 1 has no tokens/,
    ],
    [
      'a prompt over the budget, with both numbers',
      () => planPrompts([ids(1, 2, 3)], { maxTokens: 2, pool: 'last' }),
      'PROMPT_TOO_LONG',
      /3 tokens.*holds 2/,
    ],
    [
      'a negative token',
      () => planPrompts([ids(1, -4)], { maxTokens: 8, pool: 'last' }),
      'USAGE',
      /token id -4 at position 1/,
    ],
    ['no token budget', () => planPrompts([], { maxTokens: 0, pool: 'last' }), 'USAGE', /maxTokens/],
    [
      'more than 256 sequences',
      () => planPrompts([], { maxTokens: 8, maxSequences: 257, pool: 'last' }),
      'USAGE',
      /from 1 to 256, found 257/,
    ],
    [
      'an unknown pooling',
      () => planPrompts([], { maxTokens: 8, pool: 'first' as Pooling }),
      'USAGE',
      /found first/,
    ],
  ]
  it.each(refusals)('should refuse %s', (_, run, code, text) => {
    expect(run).toThrowError(text)
    try {
      run()
    } catch (error) {
      expect(isTraitscopeError(error, code)).toBe(true)
    }
  })
})
