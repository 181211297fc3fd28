import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { loadDirections } from '../../lib/directions/directions-folder.js'
import type { Grade } from '../../lib/labels/answers/grade.js'
import type { Judge } from '../../lib/labels/judges/judge.js'
import { openModuleJudge } from '../../lib/labels/judges/module-judge.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { loadSteeringSuite, type SteeringSuite } from '../../lib/prompts/steering-suite.js'
import { loadTraitPack } from '../../lib/prompts/trait-pack.js'
import type { TraitPack } from '../../lib/prompts/trait-pack-yaml.js'
import type { ChooseLayerOptions } from '../../lib/steering/choice-plan.js'
import { chooseLayer } from '../../lib/steering/choose-layer.js'
import { saveLayerChoice } from '../../lib/steering/save-choice.js'
import { schemaErrors } from '../helpers/schemas.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-choice-'))
const organisms = join(packageRoot, 'organisms')

let model: Model
let pack: TraitPack
let suite: SteeringSuite
let judge: Judge
beforeAll(async () => {
  model = await openModel(join(organisms, 'models/gemma2/base.gguf'))
  pack = { ...(await loadTraitPack(join(organisms, 'traits.yaml'))) }
  pack.questions = pack.questions.slice(0, 6)
  suite = await loadSteeringSuite(join(organisms, 'judge/steering.yaml'))
  judge = await openModuleJudge(join(organisms, 'judge/traits/gemma2.mjs'))
})
afterAll(async () => {
  await model?.close()
  rmSync(folder, { recursive: true, force: true })
})

const choose = (options: ChooseLayerOptions) =>
  chooseLayer(model, pack, {
    ...{ candidates: [3, 1], traits: ['helpfulness', 'confidence'], probes: false, promptsPerTrait: 3 },
    ...{ maxTokens: 24, suite },
    ...options,
  })

/** The exact judge, saying of every answer that it is as coherent as `coherent` says. */
const saying = (coherent: (n: number) => number): Judge => {
  let n = 0
  return {
    ...judge,
    grade: async (answer) => {
      const grade: Grade = await judge.grade(answer)
      return { ...grade, components: grade.components ?? {}, coherent: coherent(n++) }
    },
  }
}

describe('chooseLayer()', () => {
  it('should choose by the exact judge, say why, and go on from its log without generating anything', async () => {
    const log = join(folder, 'log.jsonl')
    const costs: object[] = []
    const first = await choose({ judge, log, onCost: (cost) => costs.push(cost) })
    // 3 + 3 x 2 layers x 2 traits x 2 signs for divergence; 6 + 6 x 2 x 2 signs x 4 doses for the judge, who is called twice.
    expect(costs).toEqual([
      {
        ...{ candidates: [1, 3], answers: 27 + 102, tokens: 2700 + 102 * 24, judgeCalls: 192 },
        ...{ judgeTokens: { least: expect.any(Number), most: expect.any(Number) }, cost: null },
      },
    ])
    const [{ judgeTokens }] = costs as [{ judgeTokens: { least: number; most: number } }]
    expect(judgeTokens.most - judgeTokens.least).toBe(96 * 3 * 24)
    const { selection, directions } = first
    expect(selection).toMatchObject({
      by: 'semantic',
      candidates: [1, 3],
      chosenDose: 0.5,
      traits: ['helpfulness', 'confidence'],
    })
    expect(directions.layers).toEqual([selection.layer])
    const dose = selection.doses!.at(-1)!
    expect(selection.doses!.length).toBe(1) // the largest is coherent: smaller ones were not tried
    expect(selection.dosesNotTried).toEqual([0.25, 0.1, 0.05])
    expect(selection.explanation).toContain(
      '0.25, 0.1, 0.05 were not tried: the largest coherent dose decides',
    )
    const best = dose.layers.reduce((a, b) => (b.score > a.score ? b : a))
    expect(best.layer).toBe(selection.layer)
    expect(best.score).toBeGreaterThan(0.5)
    expect(best.interval[0]).toBeLessThanOrEqual(best.score)
    expect(best.interval[1]).toBeGreaterThanOrEqual(best.score)
    expect(best.score).toBeCloseTo((best.perTrait.helpfulness! + best.perTrait.confidence!) / 2, 12)
    expect(selection.explanation).toContain(
      `Layer ${selection.layer} of 1, 3 by a judge (gemma2.mjs): at dose 0.5`,
    )

    const generate = vi.spyOn(model, 'generate')
    const grade = vi.spyOn(judge, 'grade')
    expect(await choose({ judge, log })).toEqual(first)
    expect(generate).not.toHaveBeenCalled()
    expect(grade).not.toHaveBeenCalled()
    vi.restoreAllMocks()

    const out = join(folder, 'chosen')
    await saveLayerChoice(first, out, { log })
    expect((await loadDirections(out)).layers).toEqual([selection.layer])
    const document = JSON.parse(readFileSync(join(out, 'layer_selection.json'), 'utf8'))
    expect(schemaErrors('layer-selection', document, { ours: true })).toEqual([])
    expect(document).toMatchObject({
      best_layer: selection.layer,
      selection_method: 'semantic',
      layer_source: 'steering',
    })
    expect(document.steering_results[1].mean_divergence).toBeCloseTo(selection.divergence!.mean[0]!, 4)
    expect(readFileSync(join(out, 'steering.jsonl'), 'utf8').split('\n').length).toBeGreaterThan(80)
  })

  it('should go down to the largest dose that is coherent everywhere, and without one choose by divergence, and say so', async () => {
    // Of the first dose 24 pairs, two answers judged each: all nonsense.
    const { selection } = await choose({ judge: saying((n) => (n < 48 ? 49 : 50)), doses: [0.1, 0.3] })
    expect(selection.doses!.map(({ dose, coherent }) => [dose, coherent])).toEqual([
      [0.3, false],
      [0.1, true],
    ])
    expect(selection.doses![0]!.layers.map(({ score }) => score)).toEqual([0, 0])
    expect(selection).toMatchObject({ by: 'semantic', chosenDose: 0.1, dosesNotTried: [] })
    expect(selection.explanation).toContain(
      'Dose 0.3 is too large: at layer 1 0 % of the answers are coherent',
    )

    // A judge that knows none of the traits.
    const blind: Judge = {
      ...judge,
      grade: async (answer) => ({ ...(await judge.grade(answer)), components: {} }),
    }
    const ties = await choose({ judge: blind, doses: [0.1] })
    expect(ties.selection).toMatchObject({ by: 'divergence', chosenDose: 0.1 })
    expect(ties.selection.doses![0]!.layers.map(({ pairs, ties }) => [pairs, ties])).toEqual([
      [12, 12],
      [12, 12],
    ])
    expect(ties.selection.explanation).toMatch(/^The judge gemma2.mjs tells no two answers apart at dose 0.1/)

    const none = await choose({ judge: saying(() => 49), doses: [0.1] })
    expect(none.selection).toMatchObject({ by: 'divergence', chosenDose: null })
    expect(none.selection.explanation).toMatch(
      /^No dose has 90 % of the answers found coherent at every candidate \(at 0.1 layer 1 has 0 %\).+ by steering divergence/,
    )
  })

  it('should choose by divergence at an absolute strength, and by held-out figures without generating', async () => {
    const { selection } = await choose({ strength: { alpha: 16 } })
    const { strength, mean, perTrait } = selection.divergence!
    expect(strength).toEqual({ alpha: 16 })
    expect(mean.map((value) => value > 0.1)).toEqual([true, true])
    expect(mean[1]).toBeCloseTo((perTrait[1]![0]! + perTrait[1]![1]!) / 2, 12)
    expect(selection).toMatchObject({ by: 'divergence', judge: null, doses: null, suite: null })

    const generate = vi.spyOn(model, 'generate')
    const held = await choose({ by: 'held-out' })
    expect(generate).not.toHaveBeenCalled()
    vi.restoreAllMocks()
    expect(held.selection.layer).toBe(held.selection.meanHeldOut[1]! > held.selection.meanHeldOut[0]! ? 3 : 1)
    expect(held.selection.divergence).toBeNull()
  })

  it('should refuse a way that needs a judge, and a suite that lacks a trait', async () => {
    await expect(choose({ by: 'semantic' })).rejects.toMatchObject({ code: 'USAGE' })
    await expect(choose({ judge, suite: undefined })).rejects.toMatchObject({ code: 'USAGE' })
    const lacking = { ...suite, items: suite.items.filter(({ trait }) => trait !== 'confidence') }
    await expect(choose({ judge, doses: [0.1, 0] })).rejects.toThrow('doses above 0')
    await expect(choose({ judge, promptsPerTrait: 0 })).rejects.toThrow('at least one prompt per trait')
    await expect(choose({ judge, suite: lacking })).rejects.toThrow('found none for confidence')
  })
})
