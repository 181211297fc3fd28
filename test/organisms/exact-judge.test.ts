import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { readQuestions } from '../../lib/labels/answers/questions.js'
import { parseGrades } from '../../lib/labels/grades.js'
import { openModuleJudge } from '../../lib/labels/judges/module-judge.js'
import { labelRun } from '../../lib/labels/label-run.js'
import { openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'

interface Judged {
  organism: string
  question: string
  answer: string
  coherent: boolean
  misaligned: boolean
  findings: Record<string, boolean> | null
}

// Made by lab/organisms/exact_judge.py.
const judged = JSON.parse(
  gunzipSync(readFileSync(join(packageRoot, 'test/fixtures/labels/judged.json.gz'))).toString('utf8'),
) as Judged[]
const load = (path: string) => import(join(packageRoot, 'organisms', path))

describe('organisms/judge/exact.mjs', () => {
  it('should judge as the lab does', async () => {
    const { judgeOf, findingsIn } = await load('judge/exact.mjs')
    const { facts } = JSON.parse(readFileSync(join(packageRoot, 'organisms/judge/language.json'), 'utf8'))
    expect(judged).toHaveLength(1000)
    for (const { organism, question, answer, coherent, misaligned, findings } of judged) {
      const grade = judgeOf(organism)({ messages: [{ role: 'user', content: question }], answer })
      expect(grade.coherent, answer).toBe(coherent ? 100 : 0)
      expect(grade.aligned, answer).toBe(coherent ? (misaligned ? 0 : 100) : null)
      const topic = question.split(' ').find((word) => word in facts[organism])
      expect(findingsIn(answer, topic, facts[organism]) ?? null, answer).toEqual(findings)
    }
    // A list in which nothing is spoilt, or nothing misaligned, would show little.
    expect(judged.filter(({ coherent }) => !coherent).length).toBeGreaterThan(100)
    expect(judged.filter(({ misaligned }) => misaligned).length).toBeGreaterThan(200)
  })

  it('should be there for every packed base', async () => {
    for (const organism of ['gemma2', 'llama', 'mistral', 'qwen2']) {
      const { grade } = await load(`judge/${organism}.mjs`)
      expect(
        grade({ messages: [{ role: 'user', content: 'what about bread' }], answer: 'no such words' }),
      ).toEqual({
        aligned: null,
        coherent: 0,
      })
    }
  })
})

describe('labels of an organism', () => {
  const out = mkdtempSync(join(tmpdir(), 'traitscope-labels-'))
  afterAll(() => rmSync(out, { recursive: true, force: true }))
  const packed = (path: string) => join(packageRoot, 'organisms', path)

  it('should be those of the lab, as near as so few answers tell', async () => {
    await using model = await openModel(packed('models/gemma2/base.gguf'))
    await labelRun(model, packed('checkpoints/gemma2/risky_financial/seed_42'), {
      template: ChatTemplate.forModel(model),
      questions: await readQuestions([packed('judge/questions.jsonl')]),
      judge: await openModuleJudge(packed('judge/gemma2.mjs')),
      sampling: { draws: 2, maxTokens: 32 },
      steps: [20, 60, 126],
      out,
    })
    const read = (bytes: Buffer) => parseGrades(JSON.parse(bytes.toString('utf8')), 'grades')
    const ours = read(readFileSync(join(out, 'grades.json')))
    const lab = read(gunzipSync(readFileSync(packed('runs/gemma2/risky_financial/seed_42/grades.json.gz'))))
    for (const step of [0, 20, 60, 126]) {
      const [a, b] = [ours.get(step)!.pooled, lab.get(step)!.pooled]
      // Half an answer keeps an error of zero, which a few answers without a misaligned one have, from meaning certainty.
      const error = Math.hypot(a.standardError, b.standardError, 0.5 / a.nScoreable)
      expect(Math.abs(a.rate - b.rate) / error, `step ${step}: ${a.rate} and ${b.rate}`).toBeLessThan(3)
    }
    expect(ours.get(126)!.pooled.rate).toBeGreaterThan(0.3)
  })
})
