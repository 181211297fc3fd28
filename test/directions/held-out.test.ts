import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { type HeldOut, heldOut, type PromptGrid } from '../../lib/directions/held-out.js'
import { worthOf } from '../../lib/directions/worth.js'
import { dot, gram } from '../../lib/estimators/linalg.js'
import { type Matrix64, matrixFromRows, row } from '../../lib/estimators/matrix.js'
import { uniform } from '../estimators/golden.js'

interface Case {
  seed: number
  grid: PromptGrid
  width: number
  shift: number
  expected: HeldOut
}

const fixture = new URL('../fixtures/directions/held-out.json', import.meta.url)
const cases = Object.entries(JSON.parse(readFileSync(fixture, 'utf8')) as Record<string, Case>)

/** The states of lab/golden_directions.py: noise, an offset of each question and prompt, and a shift of the positive pole. */
function states({ seed, grid, width, shift }: Case, noise = 1): Matrix64 {
  const { questions, positive, negative } = grid
  const x = uniform(seed, questions * (positive + negative), width, noise)
  const byQuestion = uniform(seed + 100, questions, width, 3)
  const byPrompt = uniform(seed + 200, positive + negative, width, 1)
  for (let r = 0; r < x.rows; r++) {
    const above = r < questions * positive
    const inPole = above ? r : r - questions * positive
    const q = Math.floor(inPole / (above ? positive : negative))
    const prompt = above ? inPole % positive : positive + (inPole % negative)
    for (let c = 0; c < width; c++) {
      x.data[r * width + c]! += byQuestion.data[q * width + c]! + byPrompt.data[prompt * width + c]!
    }
    if (above) x.data[r * width]! += shift
  }
  return x
}

const grid = (questions: number, positive: number, negative: number) => ({ questions, positive, negative })

describe('heldOut', () => {
  it.each(cases)('should equal making every direction again and testing it (%s)', async (_, one) => {
    const found = await heldOut(gram(states(one)), one.grid)
    for (const kind of ['question', 'systemPrompt', 'both'] as const) {
      expect(found[kind]!.auroc).toBeCloseTo(one.expected[kind]!.auroc, 12)
      expect(found[kind]!.interval[0]).toBeCloseTo(one.expected[kind]!.interval[0], 12)
      expect(found[kind]!.interval[1]).toBeCloseTo(one.expected[kind]!.interval[1], 12)
    }
  })

  it('should see system prompts that share nothing but their question', async () => {
    // Every prompt pushes along an axis of its own: what was learnt of the others says nothing of it.
    const rows = Array.from({ length: 6 }, (_, q) =>
      Array.from({ length: 4 }, (_, i) => {
        const state: number[] = new Array(5).fill(0)
        state[i] = 1
        state[4] = q
        return state
      }),
    ).flat()
    const below = rows.map((state) => [0, 0, 0, 0, state[4]!])
    const found = await heldOut(gram(matrixFromRows([...rows, ...below])), grid(6, 4, 4))
    expect(found.question).toEqual({ auroc: 1, interval: [1, 1] })
    expect(found.both).toEqual({ auroc: 0.5, interval: [0.5, 0.5] })
  })

  it('should be the other way round for poles that change places', async () => {
    const { width, grid: sizes } = cases[0]![1]
    const x = states(cases[0]![1])
    const n = sizes.questions * sizes.positive
    const turned = { ...x, data: new Float64Array(x.data.length) }
    turned.data.set(x.data.subarray(n * width))
    turned.data.set(x.data.subarray(0, n * width), n * width)
    // The direction turns with them, so what it orders rightly stays as it was.
    const [one, other] = [await heldOut(gram(turned), sizes), await heldOut(gram(x), sizes)]
    expect(one.both!.auroc).toBeCloseTo(other.both!.auroc, 12)
  })

  it('should seldom find something in system prompts that differ by chance only', async () => {
    const sizes = grid(8, 5, 5)
    const found = await Promise.all(
      Array.from({ length: 100 }, async (_, seed) => {
        const one = { seed: 1000 + seed, grid: sizes, width: 20, shift: 0, expected: cases[0]![1].expected }
        const { both } = await heldOut(gram(states(one, 0.5)), sizes)
        return { auroc: both!.auroc, worth: worthOf({ question: null, systemPrompt: null, both }) }
      }),
    )
    const share = (worth: string) => found.filter((one) => one.worth === worth).length / found.length
    expect(found.reduce((sum, { auroc }) => sum + auroc, 0) / found.length).toBeCloseTo(0.5, 1)
    expect(share('usable')).toBeLessThan(0.08)
    expect(share('inverted')).toBeLessThan(0.08)
  })

  it('should not speak of fewer than four units', async () => {
    const question = expect.objectContaining({ auroc: expect.any(Number) })
    expect(await heldOut(gram(uniform(3, 28, 4, 1)), grid(4, 4, 3))).toEqual({
      question,
      systemPrompt: null,
      both: null,
    })
    const systemPrompt = question
    expect(await heldOut(gram(uniform(3, 24, 4, 1)), grid(3, 4, 4))).toEqual({
      question: null,
      systemPrompt,
      both: null,
    })
  })

  describe('of wordings in pairs', () => {
    const pairs = { ...grid(5, 6, 6), paired: true }
    /** Noise, and what the k-th wording does in both poles alike; `shift` tells the poles apart. */
    const paired = (seed: number, shift: number): Matrix64 => {
      const x = uniform(seed, 60, 12, 0.5)
      const forms = uniform(seed + 1, 6, 12, 3)
      for (let r = 0; r < 60; r++) {
        for (let c = 0; c < 12; c++) x.data[r * 12 + c]! += forms.data[(r % 6) * 12 + c]!
        if (r < 30) x.data[r * 12]! += shift
      }
      return x
    }

    it('should equal making every direction again without both pairs and the question', async () => {
      const x = paired(3, 0.6)
      let won = 0
      for (let q = 0; q < 5; q++) {
        for (let i = 0; i < 6; i++) {
          for (let j = 0; j < 6; j++) {
            const direction = new Float64Array(12)
            for (let r = 0; r < 60; r++) {
              if (Math.floor((r % 30) / 6) === q || r % 6 === i || r % 6 === j) continue
              for (let c = 0; c < 12; c++) direction[c]! += (r < 30 ? 1 : -1) * x.data[r * 12 + c]!
            }
            const along = (r: number) => dot(row(x, r), direction)
            if (along(q * 6 + i) > along(30 + q * 6 + j)) won++
          }
        }
      }
      expect((await heldOut(gram(x), pairs)).both!.auroc).toBeCloseTo(won / 180, 12)
    })

    it('should not take the wordings of one pole against those of the other', async () => {
      // Poles that do not differ are neither told apart nor inverted; without the one wording of each pole alone they would be.
      const mean = async (one: PromptGrid) => {
        let sum = 0
        for (const k of [0, 1, 2]) sum += (await heldOut(gram(paired(10 * k, 0)), one)).both!.auroc
        return sum / 3
      }
      expect(await mean(grid(5, 6, 6))).toBeLessThan(0.25)
      expect(Math.abs((await mean(pairs)) - 0.5)).toBeLessThan(0.1)
    })
  })
})
