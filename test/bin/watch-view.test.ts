import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import type { Terminal } from '../../bin/live-view.js'
import { columnsOf } from '../../bin/text.js'
import { watchFrame } from '../../bin/watch-frame.js'
import { WatchView } from '../../bin/watch-view.js'
import { EventNumbers } from '../../lib/events/event-numbers.js'
import { Log, verdict, viewsOfEvents } from '../report/events.js'

const calm = (run: string) =>
  new Log(run)
    .baseline()
    .checkpoint(10, { verdict: verdict('ok', 0.01), alarm: 'quiet' })
    .checkpoint(20, { verdict: verdict('ok', 0.02), alarm: 'quiet' })
const loud = (run: string) =>
  calm(run)
    .checkpoint(30, { verdict: verdict('alarm', 0.2, ['too high']), alarm: 'raised', backlog: 2 })
    .add('lost', { step: 25, reason: 'gone' })

const paint = (_: string, text: string) => text
const frame = (logs: Log[], options: { columns?: number; rows?: number } = {}) =>
  watchFrame(viewsOfEvents(logs.flatMap(({ events }) => events)), {
    now: loud('/x').now,
    columns: 80,
    rows: 40,
    paint,
    ...options,
  })

const EXPECTED = [
  '2 runs watched, 1 in alarm',
  '',
  '! b                        ALARM since 30, step 30, 2 min ago, next late by 65 s',
  '  predicted EM 20.0 % (10.0 to 40.0)  ▁▂█  loss 0.032  █▃▁',
  '  1 checkpoint was lost',
  '  honesty          -3.0 ▁▃▆█      sycophancy       +1.5 ▁▂▃▅',
  '',
  '· a                                   ok, step 20, 3 min ago, next late by 2 min',
  '  predicted EM 2.0 % (1.0 to 4.0)  ▁▂  loss 0.048  █▁',
  '  honesty          -2.0 ▁▃▆       sycophancy       +1.0 ▁▂▃',
  '',
  '12:00:00 a: watching',
  '12:03:00 b: step 30: alarm: too high',
  '12:04:00 b: step 25: lost: gone',
]

describe('watchFrame', () => {
  it('should show the gravest run first, with everything that is known of it', () => {
    expect(frame([calm('/runs/a'), loud('/runs/b')])).toEqual(EXPECTED)
  })

  it.each([60, 80, 137])('should be no wider than %i columns', (columns) => {
    const long = `/runs/${'very-long-name-'.repeat(12)}\u001b[2J名前`
    for (const line of frame([loud(long), calm('/runs/b')], { columns })) {
      expect(columnsOf(line)).toBeLessThanOrEqual(columns)
      expect(line).not.toContain('\u001b')
    }
  })

  it('should fit the rows, and count what is left out', () => {
    const logs = Array.from({ length: 30 }, (_, i) => (i === 20 ? loud(`/runs/r${i}`) : calm(`/runs/r${i}`)))
    const lines = frame(logs, { rows: 20 })
    expect(lines.length).toBeLessThanOrEqual(20)
    expect(lines[2]).toMatch(/^! r20 /)
    const more = Number(/and (\d+) more, none of them graver/.exec(lines.join('\n'))![1])
    expect(more + lines.filter((line) => /^[!·] r\d/.test(line)).length).toBe(30)
  })

  it('should say of a verdict by other models alone that it is provisional', () => {
    const log = new Log('/runs/a')
      .baseline()
      .checkpoint(10, { verdict: { ...verdict('ok', 0.01), basis: 'prior' } })
    expect(frame([log])[2]).toMatch(/^· a +ok, provisional, step 10/)
  })

  it('should say what is waited for, and what is measured', () => {
    const waiting = new Log('/runs/a').baseline().add('waiting', { reason: 'there is no checkpoint yet' })
    const lines = watchFrame(viewsOfEvents(waiting.events), {
      ...{ now: 0, columns: 80, rows: 20, paint },
      measuring: { step: 40, fraction: 0.5 },
    })
    expect(lines[0]).toMatch(/^1 run watched +measuring step 40, 50 %$/)
    expect(lines.join('\n')).toContain('waiting: there is no checkpoint yet')
  })
})

describe('WatchView', () => {
  it('should draw what comes, with and without a log, and what concerns no run', () => {
    const terminal: Terminal = Object.assign(new PassThrough(), { isTTY: true, columns: 80, rows: 24 })
    const numbers = new EventNumbers()
    const said: string[] = []
    const say = (text: string) => void said.push(text)
    const output = { color: paint, note: say, error: say, remark: say }
    {
      using view = new WatchView(terminal, output)
      for (const { seq: _, ...event } of loud('/runs/b').events) view.take(numbers.take(event as never)!)
      view.hear('error', 'the disk is full')
      expect(said).toEqual([])
      view.say({ type: 'end', reason: 'once', measured: 3, lost: 1, unfinished: [] })
    }
    const written = (terminal as PassThrough).read().toString() as string
    const last = written.split('\u001b[?2026h').at(-1)!
    expect(said).toEqual(['the disk is full'])
    expect(last).toContain('all: the disk is full')
    expect(last).toContain('step 30, ended (once)')
    expect(last).toContain('all: the watch ended (once): 3 checkpoints measured, 1 lost')
    expect(WatchView.fits(terminal)).toBe(true)
    expect(WatchView.fits(Object.assign(new PassThrough(), { columns: 40, rows: 24 }))).toBe(false)
  })

  it('should show a run that is taken up again as earlier watches left it', () => {
    const terminal = Object.assign(new PassThrough(), { columns: 80, rows: 24 })
    const output = { color: paint, note: () => {}, error: () => {}, remark: () => {} }
    const log = loud('/runs/b').baseline({
      resumed: { lastEvent: '2026-11-29T12:04:00Z', measured: 3, secured: 0, alarm: 'standing' },
    })
    {
      using view = new WatchView(terminal, output)
      for (const event of log.events.slice(0, -1)) view.recall(event)
      view.take(log.events.at(-1)!)
    }
    const last = String(terminal.read()).split('\u001b[?2026h').at(-1)!
    expect(last).toContain('ALARM since 30, step 30')
    expect(last).toContain('predicted EM 20.0 %')
    expect(last).toContain('watching again, 3 checkpoint')
    // What was told then is no news.
    expect(last).not.toMatch(/lost|alarm: too high/)
  })

  it('should not draw every event of many runs, and the last frame whole', () => {
    const runs = Array.from({ length: 300 }, (_, i) => calm(`/runs/seed_${i}`).events).flat()
    const terminal = Object.assign(new PassThrough(), { columns: 100, rows: 40 })
    const output = { color: paint, note: () => {}, error: () => {}, remark: () => {} }
    {
      using view = new WatchView(terminal, output)
      for (const event of runs) view.take(event)
      view.say({ type: 'end', reason: 'idle', measured: 600, lost: 0, unfinished: [] })
    }
    const frames = String(terminal.read()).split('\u001b[?2026h').slice(1)
    expect(runs).toHaveLength(900)
    expect(frames.length).toBeLessThan(200)
    expect(frames[0]).toContain('1 run watched')
    expect(frames.at(-1)).toContain('300 runs watched')
    expect(frames.at(-1)).toContain('the watch ended (idle): 600 checkpoints measured')
  })
})
