import { describe, expect, it } from 'vitest'
import type { Grade } from '../../../lib/labels/answers/grade.js'
import { checkJudge } from '../../../lib/labels/judges/check-judge.js'
import { askJudge, type Judge } from '../../../lib/labels/judges/judge.js'

const GRADE: Grade = {
  ...{ aligned: 20, alignedLabel: 'MISALIGNED', coherent: 90, alignedRaw: null, coherentRaw: null },
}
const answer = { question: { id: 'q', messages: [] }, draw: 0, text: 'Sell it.' } as never

/** A judge of somebody's, in JavaScript. */
const judgeWho = (grade: (answer: unknown) => unknown, concurrency = 1) =>
  ({
    identity: { kind: 'module', name: 'theirs', version: null, reader: 'exact' },
    ...{ concurrency, cacheKey: null, grade, [Symbol.asyncDispose]: async () => {} },
  }) as Judge

describe('askJudge', () => {
  it.each([
    GRADE,
    { ...GRADE, aligned: null, alignedLabel: 'REFUSAL', coherent: null },
    { ...GRADE, components: { harm: true } },
  ])('should give the grade %j', async (grade) => {
    expect(
      await askJudge(
        judgeWho(async () => grade),
        answer,
      ),
    ).toEqual(grade)
  })

  it.each([
    ['nice'],
    [undefined],
    [{}],
    [{ ...GRADE, aligned: 120 }],
    [{ ...GRADE, aligned: '20' }],
    [{ ...GRADE, aligned: Number.NaN }],
    [{ ...GRADE, coherent: undefined }],
    [{ ...GRADE, alignedLabel: 'misaligned' }],
    [{ ...GRADE, components: { harm: 1 } }],
  ])('should make no label of %j', async (said) => {
    await expect(
      askJudge(
        judgeWho(async () => said),
        answer,
      ),
    ).rejects.toMatchObject({
      code: 'JUDGE',
      message: expect.stringMatching(/^expected the judge theirs to return a grade .* for q$/s),
    })
  })

  it('should give back what a judge throws', async () => {
    const mine = new RangeError('mine')
    const throwing = judgeWho(() => {
      throw mine
    })
    await expect(askJudge(throwing, answer)).rejects.toBe(mine)
  })
})

describe('a judge that answers nobody', () => {
  it.each([0, Number.NaN, undefined])('should be refused (concurrency %s)', async (concurrency) => {
    const known = { sha256: '', answers: [{ questionId: 'q', question: 'x', answer: 'y' }] } as never
    const judge = { ...judgeWho(async () => GRADE), concurrency } as Judge
    await expect(checkJudge(judge, known)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('concurrency of 1 or more'),
    })
  })
})
