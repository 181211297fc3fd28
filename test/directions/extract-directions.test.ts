import { beforeEach, describe, expect, it, vi } from 'vitest'
import { type Directions, directionVector, encodeDirections } from '../../lib/directions/directions.js'
import { extractDirections } from '../../lib/directions/extract-directions.js'
import { norm } from '../../lib/estimators/linalg.js'
import { sha256 } from '../../lib/formats/files/hash.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'
import { fakeModel, fakePack, fakeStates } from './fake-model.js'

vi.mock('../../lib/hidden-states/hidden-states.js')
const states = vi.mocked(hiddenStates)

beforeEach(() => {
  states.mockReset()
  states.mockImplementation(async (model, prompts, options) => {
    options.onProgress?.(1)
    return fakeStates(prompts, [...options.layers], model.info.nEmbd)
  })
})

describe('directionVector', () => {
  it.each([
    [2, 0],
    [0, 2],
    [-1, 0],
    [0.5, 0],
    ['courage', 0],
  ])('should refuse %j and %j, which are no indices', async (layer, trait) => {
    const directions = await extractDirections(fakeModel(), fakePack(), { layers: [1, 3], traits: 'all' })
    expect(() => directionVector(directions, layer as number, trait)).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringContaining('one of 2 layers') }),
    )
  })
})

describe('extractDirections', () => {
  it('should find the axis that the system prompts move, per layer', async () => {
    const directions = await extractDirections(fakeModel(), fakePack(), { layers: [3, 1, 3], traits: 'all' })
    expect(directions.layers).toEqual([1, 3])
    expect(directions.traits).toEqual(['courage', 'a/b'])
    for (const [l, layer] of [1, 3].entries()) {
      for (const t of [0, 1]) {
        const vector = directionVector(directions, l, t)
        expect(norm(vector)).toBeCloseTo(1, 7)
        expect(vector[(t + 1 + layer) % 8]).toBeGreaterThan(0.97)
      }
    }
    expect(directions.sha256).toBe(sha256(encodeDirections(directions)))
  })

  it('should be of the pack as it was when it began, whatever is done to it meanwhile', async () => {
    const options = { layers: [1, 3], traits: 'all' } as const
    const expected = await extractDirections(fakeModel(), fakePack(), options)
    const pack = structuredClone(fakePack()) as { questions: string[]; traits: unknown[] }
    const onProgress = () => {
      pack.questions.length = 1
      pack.traits.reverse()
    }
    const found = await extractDirections(fakeModel(), pack as never, { ...options, onProgress })
    expect(pack.questions).toHaveLength(1)
    expect([found.sha256, found.tokenIdsSha256]).toEqual([expected.sha256, expected.tokenIdsSha256])
  })

  it('should read all layers in one pass per trait and pole, question-major', async () => {
    await extractDirections(fakeModel(), fakePack(), { layers: [0, 2], traits: 'all', pool: 'mean' })
    expect(states).toHaveBeenCalledTimes(4)
    const prompts = states.mock.calls.map(([, ids]) =>
      ids.map((p) => Buffer.from(Uint8Array.from(p)).toString()),
    )
    expect(prompts.map((list) => list.length)).toEqual([12, 12, 18, 12])
    expect(prompts[0]!.slice(0, 3)).toEqual([
      '<system>be +1<user>Who?<assistant>',
      '<system>show +1 now<user>Who?<assistant>',
      '<system>be +1<user>What?<assistant>',
    ])
    expect(states.mock.calls.every(([, , options]) => options.pool === 'mean')).toBe(true)
    expect(states.mock.calls[0]![2].layers).toEqual([0, 2])
  })

  it('should read passages as plain text, and a base without a template', async () => {
    const passages = {
      openers: ['So', 'Then', 'Now', 'But'],
      traits: new Map([
        [
          'courage',
          {
            positive: ['be +1', 'show +1', 'w +1', 'x +1', 'y +1'],
            negative: ['be -1', 'no -1', 'v -1', 'z -1'],
          },
        ],
      ]),
      source: 'x',
      sha256: 'abc',
    }
    const model = fakeModel({ chatTemplate: undefined, info: { ...fakeModel().info, addBos: false } })
    const directions = await extractDirections(model, fakePack(), {
      layers: [1],
      traits: ['courage'],
      passages,
    })
    const prompts = states.mock.calls.map(([, ids]) =>
      ids.map((p) => Buffer.from(Uint8Array.from(p)).toString()),
    )
    expect(prompts.map((list) => list.length)).toEqual([20, 16])
    expect(prompts[0]!.slice(0, 2)).toEqual(['be +1 So', 'show +1 So'])
    expect(prompts[1]!.at(-1)).toBe('z -1 But')
    expect(directions.passagesSha256).toBe('abc')
    expect(directionVector(directions, 0, 0)[2]).toBeGreaterThan(0.9)
    expect(directions.diagnostics[0]!.heldOut.courage!.both!.auroc).toBeGreaterThan(0.9)
    expect(directions.conditions.template.sha256).toBe(ChatTemplate.plain(model).sha256)
    await expect(
      extractDirections(model, fakePack(), { layers: [1], traits: ['a/b'], passages }),
    ).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('should record conditions, probes, cosines and tokens', async () => {
    const pack = fakePack()
    const directions = await extractDirections(fakeModel(), pack, { layers: [2], traits: 'all' })
    expect(directions.conditions).toEqual({
      base: { fingerprint: 'f'.repeat(64), architecture: 'llama', name: 'fake', nLayer: 4, nEmbd: 8 },
      template: {
        sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        systemRole: 'native',
        date: '2024-07-26',
        acknowledgement: 'Understood.',
      },
      traitPack: { name: 'fake', sha256: pack.sha256, contentHash: pack.contentHash },
      pool: 'last',
    })
    const [found] = directions.diagnostics
    expect(found!.layer).toBe(2)
    expect(found!.probeAccuracy).toEqual({ courage: 1, 'a/b': 1 })
    // Two and three system prompts are too few to leave any out.
    const byQuestion = { question: { auroc: 1, interval: [1, 1] }, systemPrompt: null, both: null }
    expect(found!.heldOut).toEqual({ courage: byQuestion, 'a/b': byQuestion })
    expect(Object.keys(found!.cosines)).toEqual(['courage_vs_a/b'])
    expect(found!.averageCosine).toBe(found!.cosines['courage_vs_a/b'])
    expect(found!.separation.courage).toBeGreaterThan(5)
    expect(found!.activationNorm).toBeGreaterThan(3)
    expect(directions.tokens.computed).toBeLessThan(directions.tokens.total)
  })

  it('should change the token hash with any prompt and repeat it otherwise', async () => {
    const hash = async (questions: string[]) =>
      (
        await extractDirections(fakeModel(), fakePack({ questions }), {
          layers: [0],
          traits: 'all',
          probes: false,
        })
      ).tokenIdsSha256
    const first = await hash(['a', 'b'])
    expect(await hash(['a', 'b'])).toBe(first)
    expect(await hash(['b', 'a'])).not.toBe(first)
    expect(await hash(['ab', ''])).not.toBe(first)
  })

  it('should pair prompts within a question for the PCA variant, also with unequal pools', async () => {
    const directions = await extractDirections(fakeModel(), fakePack(), {
      layers: [1],
      traits: ['a/b'],
      method: 'pca',
      probes: false,
    })
    expect(directions.method).toBe('pca')
    expect(norm(directionVector(directions, 0, 0))).toBeCloseTo(1, 7)
    expect(directions.diagnostics[0]!.probeAccuracy).toEqual({ 'a/b': null })
    expect(directions.diagnostics[0]!.heldOut).toEqual({ 'a/b': null })
  })

  describe('whitened', () => {
    const words = ['be', 'show', 'more', 'quite']
    // Every wording goes one way or the other along axis 5; the poles of courage differ in how many of them do.
    const worded = (axis: string, ways: string) => words.map((word, i) => `${word} ${axis} ${ways[i]}5`)
    const pack = fakePack()
    const traits = [
      {
        ...pack.traits[0]!,
        positiveSystemPrompts: worded('+1', '+++-'),
        negativeSystemPrompts: worded('-1', '---+'),
      },
      {
        ...pack.traits[1]!,
        positiveSystemPrompts: worded('+2', '+-+-'),
        negativeSystemPrompts: worded('-2', '-+-+'),
      },
    ]
    const options = { layers: [0], traits: 'all' as const, probes: false }

    it("should take out what the other traits' wordings do, and say what is left on new wordings", async () => {
      const made = (method: 'mean-difference' | 'whitened') =>
        extractDirections(fakeModel(), { ...pack, traits }, { ...options, method })
      const [mean, whitened] = [await made('mean-difference'), await made('whitened')]
      const across = (of: Directions) => directionVector(of, 0, 0)[5]! / directionVector(of, 0, 0)[1]!
      expect(across(mean)).toBeGreaterThan(0.4)
      expect(Math.abs(across(whitened))).toBeLessThan(0.1)
      expect(norm(directionVector(whitened, 0, 0))).toBeCloseTo(1, 7)
      expect(whitened.method).toBe('whitened')
      expect(whitened.tokenIdsSha256).toBe(mean.tokenIdsSha256)
      const separations = (of: Directions) => of.diagnostics[0]!.separation
      expect(separations(whitened)).toEqual(separations(mean))
      const auroc = (of: Directions) => of.diagnostics[0]!.heldOut.courage!.both!.auroc
      expect(auroc(whitened)).toBeGreaterThan(auroc(mean))
      expect(auroc(whitened)).toBeGreaterThan(0.95)
    })

    it('should ask for more than one trait, and for more than one wording', async () => {
      await expect(
        extractDirections(fakeModel(), pack, { ...options, traits: ['courage'], method: 'whitened' }),
      ).rejects.toMatchObject({
        code: 'USAGE',
        message: expect.stringMatching(/two traits .* courage alone/),
      })
      const single = traits.map((trait) => ({
        ...trait,
        positiveSystemPrompts: trait.positiveSystemPrompts.slice(0, 1),
        negativeSystemPrompts: trait.negativeSystemPrompts.slice(0, 1),
      }))
      await expect(
        extractDirections(fakeModel(), { ...pack, traits: single }, { ...options, method: 'whitened' }),
      ).rejects.toMatchObject({ code: 'USAGE', message: expect.stringMatching(/wordings differ/) })
    })
  })

  it('should know which rows belong to which question and system prompt', async () => {
    const words = ['be', 'show', 'more', 'quite', 'always']
    const pack = fakePack()
    const trait = (axis: number, above: number, below: number) => ({
      ...pack.traits[0]!,
      positiveSystemPrompts: words.slice(0, above).map((word) => `${word} +${axis}`),
      negativeSystemPrompts: words.slice(0, below).map((word) => `${word} -${axis}`),
    })
    const held = async (above: number, below: number) => {
      const traits = [trait(1, above, below)]
      const made = await extractDirections(fakeModel(), { ...pack, traits }, { layers: [2], traits: 'all' })
      return made.diagnostics[0]!.heldOut.courage!
    }
    const right = { auroc: 1, interval: [1, 1] }
    expect(await held(5, 4)).toEqual({ question: right, systemPrompt: right, both: right })
    expect(await held(4, 3)).toEqual({ question: right, systemPrompt: null, both: null })
  })

  it('should report progress from 0 to 1 with the trait', async () => {
    const seen: [number, string][] = []
    await extractDirections(fakeModel(), fakePack(), {
      layers: [0],
      traits: 'all',
      onProgress: (fraction, trait) => seen.push([fraction, trait]),
    })
    expect(seen).toEqual([
      [0.25, 'courage'],
      [0.5, 'courage'],
      [0.75, 'a/b'],
      [1, 'a/b'],
    ])
  })

  it('should name the trait whose poles cannot be told apart', async () => {
    states.mockImplementation(async (_, prompts) => ({
      ...fakeStates(prompts, [0], 8),
      data: new Float32Array(prompts.length * 8).fill(1),
    }))
    await expect(
      extractDirections(fakeModel(), fakePack(), { layers: [0], traits: 'all' }),
    ).rejects.toMatchObject({
      code: 'SHAPE',
      message: expect.stringContaining('courage'),
    })
  })

  it('should stop between passes when aborted', async () => {
    const controller = new AbortController()
    states.mockImplementation(async (_, prompts) => {
      controller.abort()
      return fakeStates(prompts, [0], 8)
    })
    await expect(
      extractDirections(fakeModel(), fakePack(), { layers: [0], traits: 'all', signal: controller.signal }),
    ).rejects.toMatchObject({ code: 'ABORTED' })
    expect(states).toHaveBeenCalledTimes(1)
  })

  it('should refuse an unknown method', async () => {
    await expect(
      extractDirections(fakeModel(), fakePack(), { layers: [0], traits: 'all', method: 'lda' as 'pca' }),
    ).rejects.toMatchObject({ code: 'USAGE' })
  })
})
