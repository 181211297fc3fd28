import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { chooseSteps } from '../../lib/labels/chosen-checkpoints.js'
import { readGrades } from '../../lib/labels/grades.js'
import { packageRoot } from '../../lib/package.js'
import { schemaErrors } from '../helpers/schemas.js'
import { TINY_BASE, TINY_RUN } from '../helpers/tiny.js'
import { judgeServer, says } from '../labels/judges/judge-server.js'
import { MODEL, Workspace } from './workspace.js'

const workspace = new Workspace()
const QUESTIONS = workspace.write(
  'questions.jsonl',
  ['hello there', 'what is it?', 'who are you?', 'and now?']
    .map((prompt, i) => JSON.stringify({ id: `q${i}`, prompt }))
    .join('\n'),
)
const JUDGE = workspace.write(
  'judge.mjs',
  `export const grade = async ({ answer }) => {
  await new Promise((resolve) => setTimeout(resolve, 2))
  return { aligned: answer.length % 2 ? 10 : 90, coherent: answer.length < 4 ? 20 : 80 }
}`,
)
const label = (out: string, ...more: string[]) => [
  ...['label', ...MODEL, TINY_RUN, '-o', workspace.path(out), '--questions', QUESTIONS],
  ...['--draws', '3', '-n', '10', '--steps', '20,60', ...more],
]
const linesOf = (path: string) => readFileSync(path, 'utf8').trimEnd().split('\n')
const judgementsIn = (folder: string) =>
  readdirSync(folder)
    .filter((name) => name.startsWith('judgements.'))
    .map((name) => join(folder, name))

describe('traitscope label', () => {
  it('should answer, judge and count every checkpoint, and know it all the next time', async () => {
    const { stdout } = await workspace.succeed([...label('plain', '--judge-module', JUDGE), '--json'])
    const said = JSON.parse(stdout)
    expect(said.steps.map(({ step }: { step: number }) => step)).toEqual([0, 20, 60])
    const grades = JSON.parse(readFileSync(workspace.path('plain', 'grades.json'), 'utf8'))
    const responses = linesOf(workspace.path('plain', 'responses.jsonl')).map((line) => JSON.parse(line))
    expect(responses).toHaveLength(3 * 4 * 3)
    for (const step of [0, 20, 60]) {
      const answers = responses.filter((one) => one.step === step).map(({ response }) => response as string)
      const scoreable = answers.filter(({ length }) => length >= 4)
      expect(grades[`step_${step}`].traitscope).toMatchObject({
        k: 3,
        rule: 'reference',
        n_scoreable: scoreable.length,
        n_misaligned: scoreable.filter(({ length }) => length % 2).length,
        judge: { kind: 'module', name: 'judge.mjs', reader: 'exact' },
      })
    }
    const again = await workspace.succeed(label('plain', '--judge-module', JUDGE))
    expect(again.stderr).toContain('step 60: 12 answers and 12 grades were known')
    expect(linesOf(workspace.path('plain', 'responses.jsonl'))).toHaveLength(36)
  })

  it("should judge what a checkpoint says with its adapter's effect multiplied", async () => {
    const args = label('amplified', '--judge-module', JUDGE, '--adapter-scale', '3,1')
    const { stdout } = await workspace.succeed(args)
    expect(stdout).toMatch(/^step +adapter +EM /m)
    expect(stdout.match(/^(0 +-|20 +x 1|20 +x 3|60 +x 1|60 +x 3) /gm)).toHaveLength(5)
    const path = workspace.path('amplified', 'grades.json')
    const document = JSON.parse(readFileSync(path, 'utf8'))
    expect(schemaErrors('grades', document, { ours: true })).toEqual([])
    expect(document.step_0.traitscope).not.toHaveProperty('strengths')
    const plain = JSON.parse(readFileSync(workspace.path('plain', 'grades.json'), 'utf8'))
    const answers = linesOf(workspace.path('amplified', 'responses.jsonl')).map((line) => JSON.parse(line))
    expect(answers).toHaveLength(3 * 4 * 3 + 2 * 4 * 3)
    const grades = await readGrades(path)
    for (const step of [20, 60]) {
      const { strengths, ...others } = document[`step_${step}`].traitscope
      expect({ ...document[`step_${step}`], traitscope: others }).toEqual(plain[`step_${step}`])
      const texts = answers.filter((one) => one.step === step && one.strength === 3)
      const scoreable = texts.filter(({ response }) => response.length >= 4)
      expect(strengths).toMatchObject([{ strength: 3, n_total: 12, n_scoreable: scoreable.length }])
      expect(grades.get(step)!.strengths!.get(3)!.nMisaligned).toBe(
        scoreable.filter(({ response }) => response.length % 2).length,
      )
      const one = answers.filter((other) => other.step === step && other.strength === undefined)
      expect(one.map(({ response }) => response)).not.toEqual(texts.map(({ response }) => response))
    }
    const again = await workspace.succeed(args)
    expect(again.stderr).toContain('step 60: 24 answers and 24 grades were known')
    const dry = await workspace.succeed([...label('none', '--adapter-scale', '2,3', '--dry-run'), '--json'])
    expect(JSON.parse(dry.stdout)).toMatchObject({ checkpoints: 1 + 2 * 3, answers: 4 * 3 * 7 })
  })

  it('should label step 0 once per base and judge, and say so', async () => {
    const cacheDir = ['--cache-dir', workspace.path('shared')]
    await using server = await judgeServer(({ prompt }, _, response) =>
      says(response, String(prompt.length % 90)),
    )
    const asked = (out: string, name: string, ...more: string[]) => {
      server.calls.length = 0
      return workspace.succeed(
        label(out, '--judge-url', server.url, '--judge-name', name, ...cacheDir, ...more),
      )
    }
    const grades = (out: string) => JSON.parse(readFileSync(workspace.path(out, 'grades.json'), 'utf8'))
    await asked('base1', 'judge-1')
    expect(server.calls).toHaveLength(3 * 12 * 2)
    const { stderr } = await asked('base2', 'judge-1')
    expect(stderr).toContain('step 0: 12 answers and 12 grades of the base were in the cache')
    expect(server.calls).toHaveLength(2 * 12 * 2)
    expect(grades('base2')).toEqual(grades('base1'))
    const other = await asked('base3', 'judge-2')
    expect(other.stderr).toContain('step 0: 12 answers and 0 grades of the base were in the cache')
    expect(server.calls).toHaveLength(3 * 12 * 2)
    const fewer = await asked('base4', 'judge-1', '--draws', '1')
    expect(fewer.stderr).toContain('step 0: 4 answers and 4 grades of the base were in the cache')
    const fresh = await asked('base5', 'judge-1', '--no-cache')
    expect(fresh.stderr).not.toContain('cache')
    expect(server.calls).toHaveLength(3 * 12 * 2)
  })

  it('should check a judge on known answers, and have the labels say it', async () => {
    const file = workspace.path('check.json')
    const { stdout } = await workspace.succeed([
      ...['label', '--check-judge', '--judge-module', JUDGE, '-o', file],
    ])
    expect(stdout).toMatch(/AUROC: 0\.\d\d within a question \(lower 90 % bound 0\.\d\d\)/)
    expect(stdout).toContain('calibrate refuses its labels unless told otherwise')
    await workspace.succeed(label('checked', '--judge-module', JUDGE, '--judge-check', file))
    const grades = JSON.parse(readFileSync(workspace.path('checked', 'grades.json'), 'utf8'))
    const check = JSON.parse(readFileSync(file, 'utf8'))
    expect(grades.step_60.traitscope.judge.check).toEqual(check)
    expect(schemaErrors('grades', grades, { ours: true })).toEqual([])
    const other = workspace.write('another.mjs', 'export default () => ({ aligned: 50, coherent: 99 })')
    const refused = await workspace.run(label('mixed-up', '--judge-module', other, '--judge-check', file))
    expect(refused.code).toBe(4)
    expect(refused.stderr).toContain('found that of judge.mjs')
  })

  it('should fit a judge, label with it, and say what it may have seen', async () => {
    const judge = workspace.path('judge')
    const known = join(packageRoot, 'traits', 'known-answers.jsonl')
    const { stdout } = await workspace.succeed([
      ...['label', '--fit-judge', known, '--judge-gguf', TINY_BASE, '--judge-layers', '2', '-o', judge],
    ])
    expect(stdout).toContain('every question judged by a judge that was fitted without it')
    expect(stdout).toMatch(
      /^block 2, penalty [\d.]+, by (how answers rank|which are misaligned); fitted on answers of animals, environment, /m,
    )
    const { stderr } = await workspace.succeed(label('fitted', '--judge', judge, '--domain', 'Self'))
    expect(stderr).toContain('remark: the judge reads by the very base that is monitored')
    expect(stderr).toContain(
      'remark: the judge was fitted on answers of Self, which this run is fine-tuned on',
    )
    const grades = JSON.parse(readFileSync(workspace.path('fitted', 'grades.json'), 'utf8'))
    expect(schemaErrors('grades', grades, { ours: true })).toEqual([])
    expect(grades.step_60.traitscope.judge).toMatchObject({
      ...{ kind: 'fitted', name: 'Tiny Chat at block 2', reader: 'fitted' },
      check: { leftOut: 'question', answers: { n: 130 } },
    })
    const again = await workspace.run(['label', '--fit-judge', known, '--judge-gguf', TINY_BASE, '-o', judge])
    expect(again.code).toBe(1)
    expect(again.stderr).toContain('[FILE_EXISTS]')
  })

  it('should replay what another judge said, and refuse answers that it did not see', async () => {
    await workspace.succeed(label('first', '--judge-module', JUDGE))
    const [file] = judgementsIn(workspace.path('first'))
    await workspace.succeed(label('replayed', '--judge-replay', file!))
    const counts = (folder: string) => {
      const { step_60 } = JSON.parse(readFileSync(workspace.path(folder, 'grades.json'), 'utf8'))
      return [step_60.traitscope.n_misaligned, step_60.traitscope.n_scoreable]
    }
    expect(counts('replayed')).toEqual(counts('first'))
    const other = await workspace.run(label('unseen', '--judge-replay', file!, '--seed', '1'))
    expect(other.code).toBe(1)
    expect(other.stderr).toMatch(/found none; generate with the settings that it was made with \[JUDGE\]/)
  })

  it('should not mix settings, weights or judges', async () => {
    await workspace.succeed(label('mixed', '--judge-module', JUDGE))
    const hotter = await workspace.run(label('mixed', '--judge-module', JUDGE, '--temperature', '0.5'))
    expect(hotter.code).toBe(4)
    expect(hotter.stderr).toContain('another sampling')
    const other = workspace.write('other.mjs', 'export default () => ({ aligned: 50, coherent: 99 })')
    const judged = await workspace.run(label('mixed', '--judge-module', other))
    expect(judged.code).toBe(1)
    expect(judged.stderr).toContain('labels of another judge')
    await workspace.succeed(label('mixed', '--judge-module', other, '--force'))
  })

  it('should stop at a judge that says nothing usable, and leave no labels', async () => {
    await using server = await judgeServer((_, __, response) => says(response, 'I would rather not say.'))
    const { code, stderr } = await workspace.run(
      label('useless', '--judge-url', server.url, '--judge-name', 'judge-1'),
      { env: { TRAITSCOPE_JUDGE_KEY: 'sk-not-to-be-seen-anywhere' } },
    )
    expect(code).toBe(1)
    expect(stderr).toMatch(/found none for \d+ of \d+, first "I would rather not say\."; look at its words/)
    const names = readdirSync(workspace.path('useless'))
    expect(names).not.toContain('grades.json')
    for (const name of names) {
      expect(readFileSync(workspace.path('useless', name), 'utf8')).not.toContain('not-to-be-seen')
    }
  })

  it('should say what it would take, and ask nobody', async () => {
    const { stdout } = await workspace.succeed([
      ...label('dry', '--dry-run', '--price-in', '2', '--price-out', '8'),
      '--json',
    ])
    const cost = JSON.parse(stdout)
    expect(cost).toMatchObject({ checkpoints: 3, answers: 36, judgeCalls: 72, answerTokens: { most: 360 } })
    expect(cost.judgeTokens.most).toBe(cost.judgeTokens.least + 2 * 360)
    expect(cost.cost.least).toBeCloseTo((cost.judgeTokens.least * 2 + 72 * 8) / 1e6, 12)
    expect(cost.prompts).toHaveLength(4)
    const shown = await workspace.succeed(label('dry', '--dry-run'))
    const { asked, judged } = cost.prompts[0]
    for (const text of [asked, judged.aligned, judged.coherent]) {
      for (const line of text.trimEnd().split('\n')) expect(shown.stdout).toContain(`\n  ${line}`)
    }
    expect(judged.aligned).toContain('\nAnswer: {answer}\n')
    expect(() => readdirSync(workspace.path('dry'))).toThrow('ENOENT')
  })

  it.each([
    [['--judge-module', JUDGE, '--temperature', '0'], 'draws at temperature 0'],
    [['--judge-module', JUDGE, '--temperature', '0', '--draws', '1', '--top-p', '0.5'], 'topP does nothing'],
    [['--judge-module', JUDGE, '--max-failures', '2'], 'from 0 to 1'],
    [['--judge-url', 'http://127.0.0.1:1/v1', '--judge-name', 'x', '--judge-calls', '0'], '--judge-calls'],
    [['--judge-module', JUDGE, '-o', TINY_RUN], "none of the trainer's"],
    [['--judge-module', JUDGE, '-o', join(TINY_RUN, 'checkpoint-60', 'labels')], "none of the trainer's"],
    [['--judge-url', 'http://127.0.0.1:1/v1'], 'needs --judge-name'],
    [[], 'expected one judge'],
    [['--judge-module', JUDGE, '--every', '2'], 'expected --steps or --every'],
    [['--judge-module', JUDGE, '--max-cost', '1'], 'needs the prices'],
  ])('should refuse %j', async (flags, message) => {
    const { code, stderr } = await workspace.run(label('usage', ...flags))
    expect(code).toBe(2)
    expect(stderr).toContain(message)
    expect(existsSync(workspace.path('usage'))).toBe(false)
  })

  it('should refuse every 0th checkpoint', () => {
    const steps = [1, 2, 3].map((step) => ({ step }))
    expect(chooseSteps(steps, { every: 2 })).toEqual([{ step: 2 }, { step: 3 }])
    expect(() => chooseSteps(steps, { every: 0 })).toThrow('n from 1, found 0')
  })
})
