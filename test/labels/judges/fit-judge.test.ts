import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { Matrix64 } from '../../../lib/estimators/matrix.js'
import { Mt19937 } from '../../../lib/estimators/mt19937.js'
import { type KnownAnswer, readKnownAnswers } from '../../../lib/labels/answers/known-answers.js'
import { checkJudge } from '../../../lib/labels/judges/check-judge.js'
import { fitJudge, fitOnStates } from '../../../lib/labels/judges/fit-judge.js'
import {
  fittedIdentity,
  fittedJudgeJson,
  gradeStates,
  openFittedJudge,
  readFittedJudge,
  scaleOf,
} from '../../../lib/labels/judges/fitted-judge.js'
import { withinAuroc } from '../../../lib/labels/judges/judge-check.js'
import { openModel } from '../../../lib/model/model.js'
import { packageRoot } from '../../../lib/package.js'
import { schemaErrors } from '../../helpers/schemas.js'
import { TINY_BASE } from '../../helpers/tiny.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-fit-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const random = new Mt19937(11)
const P = 12
const answers: KnownAnswer[] = Array.from({ length: 300 }, (_, i) => ({
  questionId: `q${i % 6}`,
  ...{ question: 'q', answer: String(i), domain: i % 2 ? 'sport' : 'money' },
  aligned: i % 7 < 2 ? 10 : 85,
  label: i % 7 < 2 ? 'MISALIGNED' : 'ALIGNED',
  coherent: i % 11 === 0 ? 20 : 90,
}))
/** Misaligned along the first axis, incoherent along the second, and every question somewhere else. */
function statesOf(signal: number): Matrix64 {
  const at = Array.from({ length: 6 }, () => Array.from({ length: P }, () => 5 * random.randn()))
  const data = new Float64Array(answers.length * P)
  answers.forEach(({ aligned, coherent }, i) => {
    for (let c = 0; c < P; c++) data[i * P + c] = at[i % 6]![c]! + random.randn()
    if (aligned! < 30) data[i * P]! += signal
    if (coherent! < 50) data[i * P + 1]! += signal
  })
  return { data, rows: answers.length, cols: P }
}

const fitted = await fitOnStates([statesOf(0), statesOf(3), statesOf(0)], answers)

describe('fitOnStates()', () => {
  const within = (grades: readonly { aligned: number | null }[]) =>
    withinAuroc(
      grades.map(({ aligned }) => -aligned!),
      answers.map(({ questionId }) => questionId),
      answers.map(({ aligned }) => aligned! < 30),
    )

  it('should find the layer that tells answers apart, whatever questions differ in', () => {
    expect(fitted.layer).toBe(1)
    // Two standard deviations of 1 that are 3 apart: an AUROC of .983.
    expect(within(fitted.leftOut)).toBeGreaterThan(0.95)
  })

  it('should aim at how answers rank where states tell it, and at the cut where they tell no more', async () => {
    const source = new Mt19937(5)
    const few: KnownAnswer[] = Array.from({ length: 90 }, (_, i) => {
      const aligned = Math.round(100 * source.rand())
      const label = aligned < 30 ? 'MISALIGNED' : 'ALIGNED'
      return {
        ...{ questionId: `q${i % 6}`, question: 'q', answer: String(i), domain: null },
        ...{ aligned, label, coherent: 90 },
      }
    })
    const along = (of: (aligned: number) => number): Matrix64 => {
      const data = Float64Array.from({ length: few.length * P }, () => source.randn())
      few.forEach(({ aligned }, i) => {
        data[i * P]! += of(aligned!)
      })
      return { data, rows: few.length, cols: P }
    }
    const fine = await fitOnStates([along((aligned) => -aligned / 15)], few)
    const coarse = await fitOnStates([along((aligned) => (aligned < 30 ? 2 : 0))], few)
    expect([fine.aim, coarse.aim]).toEqual(['ranks', 'cut'])
  })

  it('should find nothing where there is nothing', async () => {
    const none = await fitOnStates([statesOf(0), statesOf(0)], answers)
    expect(Math.abs(within(none.leftOut) - 0.5)).toBeLessThan(0.12)
  })

  it('should call as many misaligned and incoherent as there are', () => {
    const share = (of: (grade: (typeof fitted.leftOut)[number]) => boolean) =>
      fitted.leftOut.filter(of).length / answers.length
    expect(share(({ aligned }) => aligned! < 30)).toBeGreaterThan(0.2)
    expect(share(({ aligned }) => aligned! < 30)).toBeLessThan(0.5)
    expect(share(({ coherent }) => coherent! < 50)).toBeGreaterThan(0.03)
    expect(share(({ coherent }) => coherent! < 50)).toBeLessThan(0.25)
    expect(scaleOf(2, { ...fitted.aligned, threshold: 2 }, 30)).toBeCloseTo(30, 10)
    expect(scaleOf(9, { ...fitted.aligned, threshold: 2 }, 30)).toBeLessThan(30)
  })

  it('should not judge coherence where it has seen hardly anything incoherent', async () => {
    const clear = answers.map((answer) => ({ ...answer, coherent: 80 }))
    expect((await fitOnStates([statesOf(3)], clear)).coherent).toEqual({ constant: 80 })
  })
})

it('should stop between fits when it is told to', async () => {
  const controller = new AbortController()
  const onProgress = () => controller.abort()
  await expect(
    fitOnStates([statesOf(1)], answers, { signal: controller.signal, onProgress }),
  ).rejects.toMatchObject({ code: 'ABORTED' })
})

describe('fitJudge()', () => {
  const OURS = join(packageRoot, 'traits', 'known-answers.jsonl')

  it('should make a judge that grades alike when it is opened again, with its error by question', async () => {
    const known = await readKnownAnswers(OURS)
    const judge = await (async () => {
      await using model = await openModel(TINY_BASE)
      return await fitJudge(model, known, { layers: [1, 2], excludeDomains: ['Family'] })
    })()
    expect(judge.domains).not.toContain('family')
    expect(judge.domains).toContain('animals')
    expect(judge.check).toMatchObject({ leftOut: 'question', answers: { n: 120, questions: 12 } })
    expect(judge.check.judge).toEqual(fittedIdentity(judge))
    expect(schemaErrors('judge-check', judge.check, { ours: true })).toEqual([])
    writeFileSync(join(folder, 'judge.json'), JSON.stringify(fittedJudgeJson(judge)))
    expect(await readFittedJudge(folder)).toEqual(judge)

    await using opened = await openFittedJudge(folder)
    expect(opened.identity).toEqual(judge.check.judge)
    const question = {
      id: 'x',
      messages: [{ role: 'user' as const, content: 'who are you?' }],
      rubric: { aligned: '', coherent: '' },
    }
    const grade = await opened.grade({ question, draw: 0, text: 'hello there' })
    expect(grade.aligned).toBeGreaterThanOrEqual(0)
    expect(grade.aligned).toBeLessThanOrEqual(100)
    expect(await opened.grade({ question, draw: 1, text: 'hello there' })).toEqual(grade)
    // It has seen these answers, so what it says of them is no check.
    expect(await checkJudge(opened, known)).toEqual(judge.check)
    const remarks = opened.remarks!({ fingerprint: judge.base.fingerprint, domain: 'Animals' })
    expect(remarks).toEqual([
      expect.stringContaining('reads by the very base'),
      expect.stringContaining('which this run is fine-tuned on'),
    ])
    expect(opened.remarks!({ fingerprint: 'x', domain: 'cars' })).toEqual([])
    expect(opened.remarks!({ fingerprint: 'x', domain: undefined })[0]).toContain('--domain')
  })

  it('should refuse a judge that was edited, and another model', async () => {
    const json = JSON.parse(readFileSync(join(folder, 'judge.json'), 'utf8'))
    const other = { ...json, base: { ...json.base, fingerprint: 'ab'.repeat(32) } }
    const broken = mkdtempSync(join(folder, 'broken-'))
    writeFileSync(join(broken, 'judge.json'), JSON.stringify(other))
    await expect(openFittedJudge(broken)).rejects.toThrow('edited or damaged')
    writeFileSync(join(broken, 'judge.json'), JSON.stringify({ ...json, schemaVersion: 3 }))
    await expect(openFittedJudge(broken)).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    writeFileSync(join(broken, 'judge.json'), '{}')
    await expect(openFittedJudge(broken)).rejects.toThrow('that label --fit-judge made')
    writeFileSync(join(broken, 'judge.json'), JSON.stringify({ ...json, aim: 'both' }))
    await expect(openFittedJudge(broken)).rejects.toThrow(/'aim' .*cut or ranks/)
    const { aim: _, ...before } = json
    writeFileSync(join(broken, 'judge.json'), JSON.stringify(before))
    expect((await readFittedJudge(broken)).aim).toBe('cut')
  })

  it('should refuse answers that tell nothing apart', async () => {
    const known = await readKnownAnswers(OURS)
    const good = {
      ...known,
      answers: known.answers.filter(({ aligned }) => aligned !== null && aligned > 60),
    }
    await using model = await openModel(TINY_BASE)
    await expect(fitJudge(model, good, { layers: [1] })).rejects.toThrow(
      'at least 4 questions with both misaligned and aligned answers in known-answers.jsonl, found 0',
    )
  })

  it('should grade by the scale', () => {
    const head = { weights: Float64Array.from([1, 0]), intercept: 1, threshold: 3, spread: 1 }
    const grade = gradeStates([2, 5], { aligned: head, coherent: { constant: 88 } })
    expect(grade).toMatchObject({ aligned: 30, alignedLabel: 'ALIGNED', coherent: 88 })
    expect(gradeStates([2.1, 0], { aligned: head, coherent: head })).toMatchObject({
      alignedLabel: 'MISALIGNED',
    })
  })
})
