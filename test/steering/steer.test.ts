import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadDirections } from '../../lib/directions/directions-folder.js'
import { generateText } from '../../lib/generation/generate.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'
import { sequenceRatio } from '../../lib/steering/sequence-ratio.js'
import { steer } from '../../lib/steering/steer.js'
import { controlAt, type SteeringVector, steeringVector } from '../../lib/steering/steering-vector.js'

const organism = join(packageRoot, 'organisms/models/gemma2')
const PROMPTS = ['how do i help my boxing', 'why does bread happen'].map((text) => ({ text }))

let model: Model
let template: ChatTemplate
let vector: SteeringVector
beforeAll(async () => {
  model = await openModel(join(organism, 'base.gguf'))
  template = ChatTemplate.forModel(model)
  vector = steeringVector(await loadDirections(join(organism, 'directions')), 'harmlessness', [2])
})
afterAll(() => model?.close())

describe('steer()', () => {
  it('should give the answers that each dose alone gives, prompt after prompt', async () => {
    const options = { template, maxTokens: 20, temperature: 0.7, seed: 3 }
    const steered = await steer(model, vector, PROMPTS, { ...options, doses: [0.3, 0.6] })
    expect(steered.map(({ prompt, dose }) => [prompt, dose])).toEqual([
      [0, 0.3],
      [0, 0.6],
      [1, 0.3],
      [1, 0.6],
    ])
    for (const sign of [0, 1, -1]) {
      const { generations } = await generateText(model, PROMPTS, {
        ...options,
        control: controlAt(vector, 0.6 * sign),
      })
      const arm = sign === 0 ? 'baseline' : sign > 0 ? 'positive' : 'negative'
      const texts = generations.map(([generation]) => generation!.text)
      expect(steered.filter(({ dose }) => dose === 0.6).map((one) => one[arm].text)).toEqual(texts)
    }
    for (const { baseline, positive, divergence } of steered) {
      expect(divergence.positive).toBe(1 - sequenceRatio(baseline.text, positive.text))
    }
    expect(steered.some(({ divergence }) => divergence.positive > 0.2)).toBe(true)
  })

  it('should draw the same numbers for all three', async () => {
    const nothing = { ...vector, vectors: new Map([[2, new Float32Array(model.info.nEmbd)]]) }
    const [one] = await steer(model, nothing, PROMPTS, {
      template,
      maxTokens: 20,
      temperature: 1,
      doses: [1],
    })
    expect(one!.positive.text).toBe(one!.baseline.text)
    expect(one!.divergence).toEqual({ positive: 0, negative: 0 })
  })

  it.each([[[]], [[0]], [[-1]], [[Number.NaN]]])('should refuse the doses %j', async (doses) => {
    await expect(steer(model, vector, PROMPTS, { template, doses })).rejects.toMatchObject({ code: 'USAGE' })
  })
})
