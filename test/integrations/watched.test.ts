import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EVENTS_FILE, type LoggedEvent } from '../../lib/events/event-log.js'
import { runState } from '../../lib/events/state-folder.js'
import { packageRoot } from '../../lib/package.js'
import { RunSummary } from '../../lib/serve/run-summary.js'
import { Log, verdict } from '../report/events.js'

// What the trainer's callback reads of a log, beside what `serve` answers; transformers is a stand-in.
const hasPython = spawnSync('python3', ['--version']).status === 0
if (!hasPython) console.log('skipped: the log as the callback reads it; there is no python3')

const SCRIPT = `
import json, sys, types
sys.modules["transformers"] = types.SimpleNamespace(TrainerCallback=object)
sys.path.insert(0, sys.argv[1])
from traitscope_callback import Watched
log = sys.argv[4]
watched = Watched(sys.argv[2], sys.argv[3])
answers = []
for part in json.load(sys.stdin):
    with open(log, part["mode"]) as file:
        file.write(part["text"])
    answer = watched.ask("poll", 0, None, sys.argv[3])
    said = watched.ask("on_save", 0, None, sys.argv[3]).get("said")
    answers.append({"said": said, "warn": answer["warn"], "checkpoints": answer["checkpoints"]})
print(json.dumps(answers))
`

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'traitscope-callback-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

interface Heard {
  said: string | null
  warn: boolean
  checkpoints: { step: number; scalars: Record<string, number> }[]
}

/** Writes the parts of a log one after the other, and asks after each. */
async function heard(parts: { mode: 'a' | 'w'; text: string }[], dir = 'state'): Promise<Heard[]> {
  const run = join(folder, 'out ü😀')
  mkdirSync(run, { recursive: true })
  const state = await runState(join(folder, 'state'), run)
  mkdirSync(state.folder, { recursive: true })
  writeFileSync(join(state.folder, EVENTS_FILE), '')
  const args = [join(packageRoot, 'integrations'), join(folder, dir), run]
  const python = spawnSync('python3', ['-B', '-c', SCRIPT, ...args, join(state.folder, EVENTS_FILE)], {
    input: JSON.stringify(parts),
    encoding: 'utf8',
  })
  if (python.status !== 0) throw new Error(python.stderr)
  return JSON.parse(python.stdout) as Heard[]
}

const text = (events: readonly LoggedEvent[]) => events.map((event) => `${JSON.stringify(event)}\n`).join('')
const append = (events: readonly LoggedEvent[]) => ({ mode: 'a' as const, text: text(events) })
const steps = ({ checkpoints }: Heard) => checkpoints.map(({ step }) => step)

describe.skipIf(!hasPython)('the log of a watch as the callback reads it', () => {
  it('should say what serve says, of a log that is longer than a megabyte too', async () => {
    const log = new Log()
      .baseline({ traits: ['of', 'before'], conditions: 'c0' })
      .checkpoint(5)
      .baseline()
      .checkpoint(10, { verdict: verdict('ok', 0.01) })
    for (let i = 0; i < 20; i++) log.add('waiting', { reason: 'x'.repeat(100_000) })
    log.checkpoint(20, { verdict: verdict('warn', 0.05) })
    // By a part of the prompts there is no interval.
    const settled = { side: 'below', threshold: 0.06, error: 0.01, prompts: 9, of: 99, by: '' } as const
    log.checkpoint(30, { verdict: { ...verdict('ok', 0.01), interval: null, settled } })
    const summary = new RunSummary('id', folder)
    for (const event of log.events) summary.take(event)
    const [answer] = await heard([append(log.events)])
    expect(answer!.warn).toBe(summary.isWarned)
    expect(answer!.checkpoints.map(({ step, scalars }) => [step, scalars])).toEqual(
      summary.checkpoints.map(({ step, scalars }) => [step, scalars]),
    )
    expect(steps(answer!)).toEqual([10, 20, 30])
    expect(answer!.checkpoints[2]!.scalars).toMatchObject({ predicted_em: 0.01, prompts_read: 9 })
  })

  it('should take what is new at each look, whole lines only, and all of a log that is begun anew', async () => {
    const log = new Log().baseline().checkpoint(10).checkpoint(20)
    const whole = text(log.events)
    const cut = whole.length - 100
    const other = text(new Log().baseline({ traits: ['vanity'] }).checkpoint(7).events)
    const answers = await heard([
      { mode: 'a', text: whole.slice(0, cut) },
      { mode: 'a', text: whole.slice(cut) },
      { mode: 'a', text: '' },
      { mode: 'w', text: other },
    ])
    expect(answers.map(steps)).toEqual([[10], [10, 20], [10, 20], [7]])
    expect(Object.keys(answers[3]!.checkpoints[0]!.scalars)).toEqual(['drift_vanity', 'drift_length'])
  })

  it('should warn by the newest checkpoint, not by the backlog that is measured after it', async () => {
    const log = new Log()
      .baseline()
      .checkpoint(30, { verdict: verdict('warn', 0.05), writtenAt: '2026-11-29T12:00:30.000Z' })
      .checkpoint(10, { verdict: verdict('ok', 0.01), writtenAt: '2026-11-29T12:00:10.000Z' })
    expect((await heard([append(log.events)]))[0]!.warn).toBe(true)
  })

  it('should miss a watch that has ended, or that keeps its state elsewhere', async () => {
    const log = new Log().baseline().checkpoint(10)
    const again = new Log()
      .baseline()
      .add('end', { reason: 'aborted', measured: 1, lost: 0, unfinished: [] })
      .baseline()
    const [watched, ended, resumed] = [log.events, ...[2, 3].map((n) => again.events.slice(0, n))].map(append)
    expect((await heard([watched!]))[0]!.said).toBe(null)
    expect((await heard([ended!]))[0]!.said).toMatch(/^the watch of this run has ended/)
    expect((await heard([resumed!]))[0]!.said).toBe(null)
    expect((await heard([watched!], 'elsewhere'))[0]!.said).toMatch(
      /^no watch of this run has begun: .*elsewhere.* is not there \(state_dir/,
    )
  })

  it('should not stay with a checkpoint that a wrong clock has dated', async () => {
    const ahead = '2030-01-01T00:00:00.000Z'
    const ok = { verdict: verdict('ok', 0.01) }
    const warn = { verdict: verdict('warn', 0.05), writtenAt: ahead }
    const dated = new Log().baseline().checkpoint(10, warn).checkpoint(20, ok)
    const setBack = new Log()
      .baseline()
      .checkpoint(10, { ...warn, time: ahead })
      .checkpoint(20, ok)
    for (const { events } of [dated, setBack]) expect((await heard([append(events)]))[0]!.warn).toBe(false)
  })
})
