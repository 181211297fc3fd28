import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { createOutput } from '../../bin/output.js'
import { cells, WatchText } from '../../bin/watch-text.js'
import type { WatchEvent } from '../../lib/events/watch-events.js'
import { Log, verdict } from '../report/events.js'

describe('cells', () => {
  const names = ['length', 'EM %', 'interval', 'verdict']

  it('should line up under the names, the widest rates too', () => {
    for (const texts of [
      ['0.1336', '2.5', '1.4-4.0', 'ok'],
      ['0.1460', '100.0', '100.0-100.0', 'alarm'],
    ])
      expect(cells(texts, names)).toHaveLength(cells(names, names).length)
  })

  it('should keep apart what is wider than its column', () => {
    const texts = ['-123.4567', '100.0', '95.5-100.0', 'not-comparable']
    expect(cells(texts, names).trim().split(/\s+/)).toEqual(texts)
  })
})

describe('WatchText', () => {
  it('should say a reason when it is new to a run, and again when it comes back', () => {
    const of = (run: string, ...reasons: string[][]) => {
      const log = new Log(run).baseline({ base: { file: 'base.gguf', fingerprint: 'f'.repeat(64) } })
      for (const [i, each] of reasons.entries())
        log.checkpoint(10 * (i + 1), { verdict: verdict('alarm', 0.2, each), alarm: 'standing' })
      return log.events
    }
    const stderr = new PassThrough()
    const text = new WatchText(createOutput({ stdout: new PassThrough(), stderr, env: {} }), true)
    const events = [
      ...of(
        '/runs/a',
        ['provisional'],
        ['high', 'provisional'],
        ['high', 'provisional'],
        ['provisional'],
        ['high'],
      ),
      ...of('/runs/b', ['provisional'], ['provisional']),
    ]
    for (const event of events) text.print(event as WatchEvent)
    const said = String(stderr.read()).split('\n')
    expect(said.filter((line) => line.includes(': step '))).toEqual([
      'a: step 10: provisional',
      'a: step 20: high',
      'a: step 50: high',
      'b: step 10: provisional',
    ])
  })
})
