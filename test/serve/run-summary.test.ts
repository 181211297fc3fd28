import { describe, expect, it } from 'vitest'
import type { LoggedEvent } from '../../lib/events/event-log.js'
import { metricsText } from '../../lib/serve/metrics.js'
import { RunSummary } from '../../lib/serve/run-summary.js'
import { Log, margin, RUN, verdict } from '../report/events.js'

const alarm = { verdict: verdict('alarm', 0.4), alarm: 'raised' as const }
const ok = { verdict: verdict('ok', 0.01), alarm: 'quiet' as const }

function summaryOf({ events }: { events: readonly LoggedEvent[] }): RunSummary {
  const summary = new RunSummary('id', RUN)
  for (const event of events) summary.take(event)
  return summary
}

describe('RunSummary', () => {
  it('should let no alarm and no figure outlive the conditions that gave them', () => {
    const log = new Log().baseline().checkpoint(10, alarm)
    expect(summaryOf(log)).toMatchObject({ alarmMessage: 'alarm at step 10', isWarned: true })
    log.add('end', { reason: 'aborted', unfinished: [] }).baseline({ conditions: 'c2', traits: ['vanity'] })
    const summary = summaryOf(log)
    expect(summary).toMatchObject({ alarmSince: undefined, alarmMessage: undefined, isWarned: false })
    expect(summary.checkpoints).toEqual([])
    expect(metricsText([summary])).not.toMatch(/undefined|vanity/)
    expect(metricsText([summary])).toContain('traitscope_alarm{run="/runs/out"} 0\n')
  })

  it('should warn by the margin where nothing gives a verdict', () => {
    const read = (low: number) =>
      summaryOf(new Log().baseline().checkpoint(10, { margin: margin(low, 0.75) }))
    expect(read(0.25).isWarned).toBe(true)
    expect(read(0.25).last!.scalars).toMatchObject({ margin: 0.5, margin_low: 0.25, margin_high: 0.75 })
    expect(read(-0.25).isWarned).toBe(false)
  })

  it('should know of an alarm that a log which was begun anew says to stand', () => {
    const resumed = { lastEvent: '', measured: 3, secured: 2, alarm: 'standing' as const }
    const summary = summaryOf(new Log().baseline({ resumed }))
    expect(summary).toMatchObject({ alarmSince: expect.any(Number), backlog: 2 })
    expect(summaryOf(new Log().baseline({ resumed }).checkpoint(40, ok)).alarmSince).toBeUndefined()
  })

  it('should say how the run stands by the checkpoint that was written last, not by the one that was measured last', () => {
    const log = new Log()
      .baseline()
      .checkpoint(30, { ...alarm, writtenAt: '2026-11-29T12:00:30Z' })
      .checkpoint(10, { ...ok, alarm: 'standing', writtenAt: '2026-11-29T12:00:10Z' })
    const summary = summaryOf(log)
    expect(summary.isWarned).toBe(true)
    expect([summary.newest?.step, summary.last?.step]).toEqual([30, 10])
    expect(metricsText([summary])).toContain('traitscope_last_step{run="/runs/out"} 30\n')
    // A training that begins anew goes on from a lower step.
    log.checkpoint(5, { ...ok, writtenAt: '2026-11-29T12:05:00Z' })
    expect(summaryOf(log).newest?.step).toBe(5)
  })

  it('should not stay with a checkpoint that a clock ahead has dated, nor with one from before a clock was set back', () => {
    const ahead = '2030-01-01T00:00:00.000Z'
    const log = new Log().baseline().checkpoint(10, { ...alarm, writtenAt: ahead })
    log.checkpoint(20, { ...ok, writtenAt: new Date(log.now - 1000).toISOString() })
    expect(summaryOf(log).newest?.step).toBe(20)
    log.checkpoint(30, { ...alarm, time: ahead, writtenAt: ahead }).checkpoint(40, ok)
    expect(summaryOf(log).newest?.step).toBe(40)
  })

  it('should give no figures of weights that others have replaced', () => {
    const log = new Log().baseline().checkpoint(10, ok).checkpoint(20, ok)
    const steps = () => summaryOf(log).checkpoints.map(({ step }) => step)
    log.add('secured', { step: 20, adapterSha256: 'a'.repeat(64) })
    expect(steps()).toEqual([10, 20])
    log.add('secured', { step: 10, adapterSha256: 'b'.repeat(64) })
    expect(steps()).toEqual([20])
    log.add('secured', { step: 20, adapterSha256: 'b'.repeat(64) })
    expect(summaryOf(log).newest).toBeUndefined()
    expect(metricsText([summaryOf(log)])).not.toMatch(/traitscope_(predicted_em|last_step)\{/)
  })

  it('should count what has come since the last checkpoint', () => {
    const log = new Log().baseline().checkpoint(10, { ...ok, backlog: 1 })
    const secured = (step: number) => log.add('secured', { step })
    secured(30)
    secured(40)
    expect(summaryOf(log).backlog).toBe(3)
    log.add('lost', { step: 20, reason: 'gone' }).add('error', { step: 30, retryMs: 5 })
    expect(summaryOf(log).backlog).toBe(2)
    log.add('error', { step: 30 })
    expect(summaryOf(log).backlog).toBe(1)
  })
})
