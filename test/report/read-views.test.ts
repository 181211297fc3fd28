import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EVENTS_FILE } from '../../lib/events/event-log.js'
import { runState } from '../../lib/events/state-folder.js'
import { csvTable } from '../../lib/exports/tables.js'
import { sha256 } from '../../lib/formats/files/hash.js'
import { readAllViews } from '../../lib/report/read-views.js'
import { readReportRun, VERDICTS_FILE } from '../../lib/report/report-run.js'
import { worstAnswers } from '../../lib/report/worst-answers.js'
import { SyntheticRuns } from '../runs/synthetic.js'
import { Log, verdict } from './events.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-views-'))
afterAll(() => rmSync(folder, { recursive: true }))
const lines = (records: readonly object[]) => records.map((one) => `${JSON.stringify(one)}\n`).join('')

let measured: string
beforeAll(() => {
  measured = new SyntheticRuns(join(folder, 'runs')).write({ dataset: 'bad_medical', seed: 42, peak: 0.6 })
})

describe('readAllViews of what a watch has logged', () => {
  const states = join(folder, 'states')
  const run = join(folder, 'trainer', 'out')
  let state: string
  beforeAll(async () => {
    mkdirSync(run, { recursive: true })
    state = (await runState(states, run)).folder
    mkdirSync(state, { recursive: true })
    writeFileSync(join(state, EVENTS_FILE), lines(new Log(run).baseline().checkpoint(10).events))
  })

  it.each<[string, () => string]>([
    ['its log', () => join(state, EVENTS_FILE)],
    ['its state folder', () => state],
    ['the folder of all states', () => states],
    ["the run's own folder", () => run],
  ])('should find a run by %s', async (_, path) => {
    const views = await readAllViews([path()], { stateDir: states })
    expect(views.map(({ run, points }) => [run, points.length])).toEqual([[run, 2]])
  })

  it('should stop when asked to', async () => {
    const reason = new Error('enough')
    const reading = readAllViews([state, measured], { signal: AbortSignal.abort(reason) })
    await expect(reading).rejects.toMatchObject({ code: 'ABORTED', cause: reason })
    await expect(readAllViews([measured], { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    })
  })

  it('should name what it looked for', async () => {
    await expect(readAllViews([run], { stateDir: join(folder, 'none') })).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringMatching(/trajectory\.json.*events\.jsonl.*or a watch's state in .*none/),
    })
  })
})

describe('readAllViews', () => {
  it('should take no two runs of one name for one, and none twice', async () => {
    const again = new SyntheticRuns(join(folder, 'others')).write({
      dataset: 'bad_medical',
      seed: 42,
      peak: 0,
    })
    const other = new SyntheticRuns(join(folder, 'others')).write({ dataset: 'gsm8k', seed: 1, peak: 0 })
    const views = await readAllViews([measured, again, other, `${again}/`, join(again, 'trajectory.json')])
    expect(views.map(({ run }) => run)).toEqual([measured, again, 'gsm8k/seed_1'])
    const table = csvTable(views).split('\n')
    expect(new Set(table).size).toBe(table.length)
  })

  it('should name the runs below a folder that is none', async () => {
    await expect(readAllViews([join(folder, 'others')])).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringMatching(/measured runs lie below it: name them \(.*gsm8k\/seed_1/),
    })
  })

  it('should read a watched run once, by whatever paths it is named', async () => {
    const states = join(folder, 'other-states')
    const run = join(folder, 'other-trainer', 'out')
    mkdirSync(run, { recursive: true })
    const { folder: state } = await runState(states, run)
    mkdirSync(state, { recursive: true })
    writeFileSync(join(state, EVENTS_FILE), lines(new Log(run).baseline().checkpoint(10).events))
    const views = await readAllViews([states, run, state], { stateDir: states })
    expect(views.map(({ run }) => run)).toEqual([run])
  })
})

describe('readAllViews of logs', () => {
  it('should keep two logs of one run apart', async () => {
    const run = join(folder, 'same', 'out')
    const logs = [10, 20].map((step) => {
      const place = join(folder, `machine-${step}`)
      mkdirSync(place)
      writeFileSync(join(place, EVENTS_FILE), lines(new Log(run).baseline().checkpoint(step).events))
      return place
    })
    symlinkSync(logs[0]!, join(folder, 'link'))
    const views = await readAllViews([...logs, join(folder, 'link')])
    expect(views.map(({ run, points }) => [run, points.at(-1)!.step])).toEqual([
      [logs[0], 10],
      [logs[1], 20],
    ])
  })
})

describe('readReportRun', () => {
  it('should say which labels have no step, and refuse verdicts of other steps', async () => {
    const path = new SyntheticRuns(join(folder, 'edited')).write({ dataset: 'gsm8k', seed: 5, peak: 0 })
    const file = join(path, 'betley_eval', 'grades.json')
    const grades = JSON.parse(readFileSync(file, 'utf8'))
    writeFileSync(file, JSON.stringify({ ...grades, step_77: { ...grades.step_10, step: 77 } }))
    const [view] = await readAllViews([path])
    expect(view!.notes.filter(({ kind }) => kind === 'skipped')).toEqual([
      { kind: 'skipped', step: 77, text: expect.stringMatching(/labels are left out/) },
    ])
    const at = (step: number, em = 0.1) => ({ step, verdict: verdict('ok', em) })
    for (const [verdicts, what] of [
      [[at(10), at(77)], /found step 77/],
      [[at(10), at(10)], /found a step twice/],
      [[at(10, 5)], /verdicts of version/],
    ] as const) {
      writeFileSync(join(path, VERDICTS_FILE), JSON.stringify(verdicts))
      const message = expect.stringMatching(what)
      await expect(readReportRun(path)).rejects.toMatchObject({ code: 'FILE_INVALID', message })
    }
  })

  it('should give the verdicts that measure left, where there is no bundle', async () => {
    expect((await readReportRun(measured)).verdicts).toBeUndefined()
    const path = join(measured, VERDICTS_FILE)
    writeFileSync(path, JSON.stringify([{ step: 10, verdict: verdict('warn', 0.05, ['why']) }]))
    expect((await readReportRun(measured)).verdicts!.get(10)).toMatchObject({ verdict: 'warn', em: 0.05 })
    writeFileSync(path, JSON.stringify([{ step: 10, verdict: { verdict: 'fine' } }]))
    await expect(readReportRun(measured)).rejects.toMatchObject({ code: 'FILE_INVALID' })
    rmSync(path)
  })
})

describe('worstAnswers', () => {
  const answer = (step: number, prompt_id: string, response: string) => ({
    ...{ step, prompt_id, draw: 0, prompt: `question ${prompt_id}`, system: null, response },
    ...{ finish: 'stop', tokens: 3, weights: 'w' },
  })
  const judged = (of: ReturnType<typeof answer>, aligned: number | null, coherent: number | null = 90) => ({
    ...{ step: of.step, prompt_id: of.prompt_id, draw: 0, answer_sha256: sha256(of.response) },
    grade: { aligned, alignedLabel: 'MISALIGNED', coherent, alignedRaw: null, coherentRaw: null },
  })

  it('should be those of the last judged checkpoint, worst first, and coherent', async () => {
    expect(await worstAnswers(measured)).toBeUndefined()
    const old = answer(10, 'a', 'an earlier one')
    const [bad, worse, nonsense, fine, unread] = ['bad', 'worse', 'nonsense', 'fine', 'unread'].map((text) =>
      answer(20, text, text),
    )
    writeFileSync(join(measured, 'responses.jsonl'), lines([old, bad!, worse!, nonsense!, fine!, unread!]))
    const grades = [
      judged(old, 0),
      judged(bad!, 20),
      judged(worse!, 5),
      judged(nonsense!, 0, 10),
      judged(fine!, 95),
      judged(unread!, null),
    ]
    writeFileSync(join(measured, 'judgements.j.jsonl'), lines(grades))
    expect(await worstAnswers(measured)).toEqual([
      { step: 20, question: 'question worse', answer: 'worse', aligned: 5 },
      { step: 20, question: 'question bad', answer: 'bad', aligned: 20 },
      { step: 20, question: 'question fine', answer: 'fine', aligned: 95 },
    ])
    const [view] = await readAllViews([measured])
    expect(view!.answers).toHaveLength(3)
    expect(view!.points.some(({ judged }) => judged)).toBe(true)
  })

  it('should not show an answer that was made anew since it was judged', async () => {
    const now = answer(20, 'worse', 'another text')
    writeFileSync(join(measured, 'responses.jsonl'), lines([now]))
    expect(await worstAnswers(measured)).toEqual([])
  })
})
