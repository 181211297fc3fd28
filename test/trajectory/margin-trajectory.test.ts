import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { TraitscopeError } from '../../lib/errors.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import type { MarginPairs } from '../../lib/labels/margins/margin-pairs.js'
import type { Model } from '../../lib/model/model.js'
import { trajectoryMargins } from '../../lib/trajectory/margin-trajectory.js'
import { type MeasureRunOptions, measureRun } from '../../lib/trajectory/measure-run.js'
import { parseTrajectory, readTrajectory } from '../../lib/trajectory/read-trajectory.js'
import { fakeDirections } from '../directions/fake-directions.js'
import { fakePack } from '../directions/fake-model.js'
import { attachedStates, attachingModel, writeCheckpoint } from './fake-run.js'

vi.mock('../../lib/hidden-states/hidden-states.js')
const states = vi.mocked(hiddenStates)

const pairsOf = (...questions: string[]): MarginPairs => ({
  ...{ file: 'pairs.jsonl', sha256: questions.join() },
  pairs: questions.map((question) => ({
    ...{ questionId: question, domain: null, misaligned: 'bad', aligned: 'good' },
    messages: [{ role: 'user', content: question }],
  })),
})
const PAIRS = pairsOf('one', 'three')

/** Misaligned answers gain the strength of the adapter, a tenth of it more with each letter of the question. */
const score = vi.fn(
  async (
    prompts: Int32Array[],
    answers: Int32Array[][],
    { adapters, onProgress }: Parameters<Model['score']>[2] & { adapters: { strength: number }[] },
  ) => {
    onProgress?.({ tokens: 0, tokensPerSecond: 0, finished: 1, sequences: 4 })
    return {
      logprobs: prompts.map((prompt, i) => {
        const gain = (adapters[0]?.strength ?? 0) * (1 + prompt.length / 10)
        return answers[i]!.map((ids, j) => new Float64Array(ids.length).fill(j === 0 ? gain - 3 : -2))
      }),
      tokens: { computed: 7 },
    }
  },
)

let folder: string
let run: string
const { model } = attachingModel({ score })
const measure = (options: Partial<MeasureRunOptions> = {}, subject = model) =>
  measureRun(subject, fakeDirections(), run, {
    ...{ pack: fakePack(), cacheDir: join(folder, 'cache'), margin: PAIRS },
    ...options,
  })

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-margin-'))
  run = join(folder, 'run')
  states.mockReset()
  states.mockImplementation(attachedStates)
  score.mockClear()
  for (const step of [10, 20]) await writeCheckpoint(run, step, step / 10)
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('a run that is measured with pairs of answers', () => {
  it('should have the numbers of every pair at every step, and their change', async () => {
    const out = join(folder, 'out')
    const fractions: number[] = []
    const trajectory = await measure({ out, onProgress: (fraction) => fractions.push(fraction) })
    const margin = trajectory.margin!
    expect(margin).toMatchObject({ file: 'pairs.jsonl', sha256: 'one,three', pass: { computed: 7 } })
    expect(margin.pairs).toEqual(PAIRS.pairs.map(({ questionId, domain }) => ({ questionId, domain })))
    const lengths = ['<user>one<assistant>', '<user>three<assistant>'].map(({ length }) => length)
    // Per question: itself, and with it both answers.
    expect(margin.pass.total).toBe(lengths.reduce((sum, length) => sum + 2 * length + 7, 0))
    expect(margin.aligned).toEqual(Array(3).fill([-2, -2]))
    for (const [i, strength] of [0, 1, 2].entries()) {
      for (const [p, length] of lengths.entries())
        expect(margin.misaligned[i]![p]).toBeCloseTo(strength * (1 + length / 10) - 3, 12)
    }
    const [zero, first, second] = trajectoryMargins(trajectory)!
    expect(zero).toMatchObject({ change: 0, pairs: 2, questions: 2 })
    expect(second!.change).toBeCloseTo(2 * first!.change, 12)
    expect(trajectoryMargins(await readTrajectory(out))).toEqual([zero, first, second])
    expect(Math.max(...fractions)).toBe(1)
    expect(fractions).toEqual(fractions.toSorted((a, b) => a - b))
    // A quarter of the pairs behind the states of step 0, of two checkpoints.
    expect(fractions.slice(0, 2)).toEqual([1 / 6, 5 / 24])
  })

  it('should read step 0 once for all runs of a base, and anew for other pairs or another base', async () => {
    await measure()
    expect(score).toHaveBeenCalledTimes(3)
    const again = await measure()
    expect(score).toHaveBeenCalledTimes(5)
    expect(again.margin).toEqual((await measure({ cacheDir: false })).margin)
    score.mockClear()
    await measure({ margin: pairsOf('one', 'four') })
    expect(score).toHaveBeenCalledTimes(3)
    await measure({ allowMismatch: true }, attachingModel({ score, fingerprint: 'e'.repeat(64) }).model)
    expect(score).toHaveBeenCalledTimes(6)
    const without = await measure({ margin: undefined })
    expect(without).not.toHaveProperty('margin')
    expect(score).toHaveBeenCalledTimes(6)
  })

  it('should be read in no context, whatever else is read', async () => {
    const contexts = {
      contexts: [{ name: 'a', origin: 'given' as const, system: 'Be.' }],
      files: [],
      remarks: [],
    }
    const trajectory = await measure({ contexts })
    expect(score).toHaveBeenCalledTimes(3)
    expect(trajectory.margin).toEqual((await measure()).margin)
  })

  it('should read all pairs where a part of the prompts settles a verdict', async () => {
    const settled = { side: 'below' as const, threshold: 0.06, error: 0.01, prompts: 1, of: 3, by: 'it' }
    const settle = () => ({ sha256: 's', error: 0.01, begin: () => ({ take: () => settled }) })
    const { steps, margin } = await measure({ settle })
    expect(steps.map((one) => one.settled)).toEqual([undefined, settled, settled])
    expect(margin).toEqual((await measure()).margin)
  })

  it('should be gone on with by the same pairs alone, and tell what is left', async () => {
    const out = join(folder, 'out')
    const told: [number, unknown[]][] = []
    const resumed = async (options: Partial<MeasureRunOptions> = {}) => {
      const steps: unknown[] = []
      let kept = 0
      const onCheckpoint: MeasureRunOptions['onCheckpoint'] = (one) => one.resumed && steps.push(one.step)
      await measure({ out, ...options, onCheckpoint, onKept: (count) => (kept = count) })
      told.push([kept, steps])
    }
    const cutShort = async () => {
      await rm(out, { recursive: true, force: true })
      let passes = 0
      score.mockImplementation(async (...args) => {
        if (++passes === 2) throw new Error('killed')
        return original(...args)
      })
      await expect(measure({ out })).rejects.toThrow('killed')
      score.mockImplementation(original)
    }
    const original = score.getMockImplementation()!
    await measure({ out: join(folder, 'whole') })
    await cutShort()
    await resumed()
    const read = (name: string) => readFile(join(folder, name, 'trajectory.json'), 'utf8')
    expect(await read('out')).toBe(await read('whole'))
    await cutShort()
    await resumed({ margin: pairsOf('one', 'four') })
    await cutShort()
    await resumed({ margin: undefined })
    expect(told).toEqual([
      [1, [10]],
      [1, []],
      [1, []],
    ])
  })

  it('should name the checkpoint that no number comes of', async () => {
    const original = score.getMockImplementation()!
    score.mockImplementation(async (...args) => {
      if (score.mock.calls.length === 3) throw new TraitscopeError('COMPUTE', 'the logits are not finite')
      return original(...args)
    })
    await expect(measure()).rejects.toThrow(/^step 20: the logits are not finite$/)
    score.mockImplementation(original)
  })

  it('should say that pairs of one question have no interval', async () => {
    const { measurement, ...trajectory } = await measure({ margin: pairsOf('one', 'one') })
    expect(measurement!.remarks).toContainEqual(expect.stringMatching(/^the pairs are of a single question/))
    expect(trajectoryMargins(trajectory)![1]).toMatchObject({ pairs: 2, questions: 1, interval: null })
    expect((await measure()).measurement!.remarks).toEqual([])
  })

  it('should refuse a base of which a part is open', async () => {
    const part = attachingModel({ score, readsUpTo: 3 }).model
    await expect(measure({}, part)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/expected the whole model.*found blocks 0 to 3/),
    })
    expect(states).not.toHaveBeenCalled()
  })

  it.each<[string, (margin: Record<string, unknown>) => void]>([
    ['a step too few', (margin) => (margin.misaligned as unknown[]).pop()],
    ['a pair too many', (margin) => (margin.pairs as unknown[]).push({ questionId: 'x', domain: null })],
    ['no number', (margin) => ((margin.aligned as unknown[][])[1]![0] = null)],
    ['no pairs', (margin) => (margin.pairs = [])],
    ['no question', (margin) => (margin.pairs = [{ domain: null }, { domain: null }])],
  ])('should not be read with %s', async (_, damage) => {
    const out = join(folder, 'out')
    await measure({ out })
    const document = JSON.parse(await readFile(join(out, 'trajectory.json'), 'utf8'))
    damage(document.traitscope.margin)
    expect(() => parseTrajectory(document, 'it')).toThrow("'traitscope.margin' of it")
    await writeFile(join(out, 'trajectory.json'), JSON.stringify(document))
  })
})
