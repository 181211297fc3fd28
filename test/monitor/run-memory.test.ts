import { describe, expect, it } from 'vitest'
import type { EventJson } from '../../lib/events/watch-events.js'
import { RunMemory } from '../../lib/monitor/run-memory.js'

const CONDITIONS = 'a'.repeat(64)
const THRESHOLD = 0.06

const at = (second: number) => new Date(1_700_000_000_000 + 1000 * second).toISOString()

function checkpoint(step: number, em: number, writtenAt = step): EventJson {
  const verdict = { verdict: em > THRESHOLD ? 'alarm' : 'ok', em, threshold: THRESHOLD }
  return {
    type: 'checkpoint',
    step,
    path: `p${step}`,
    adapterSha256: `sha ${step} ${em}`,
    verdict,
    stamp: 's',
    writtenAt: at(writtenAt),
  } as never
}

function remembered(...events: EventJson[]): RunMemory {
  const memory = new RunMemory(CONDITIONS)
  memory.apply({ type: 'baseline', conditions: CONDITIONS, time: at(0) } as never)
  for (const event of events) memory.apply(event)
  return memory
}

describe('RunMemory', () => {
  it('should know where the alarm stands, whoever measured what', () => {
    expect(remembered(checkpoint(10, 0.01), checkpoint(20, 0.2)).alarm).toBe('standing')
    const calm = [checkpoint(30, 0.01), checkpoint(40, 0.01)]
    expect(remembered(checkpoint(20, 0.2), calm[0]!).alarm).toBe('standing')
    expect(remembered(checkpoint(20, 0.2), ...calm).alarm).toBe('quiet')
  })

  it('should take verdicts in the order of their steps, not of their measurement', () => {
    const verdict = (em: number) => ({
      verdict: em > THRESHOLD ? ('alarm' as const) : ('ok' as const),
      em,
      threshold: THRESHOLD,
    })
    // The newest first: what was before it cannot clear its alarm.
    const memory = remembered(checkpoint(50, 0.3))
    for (const step of [10, 20, 30]) {
      expect(memory.alarmAfter(step, verdict(0.01))).toBe('standing')
      memory.apply(checkpoint(step, 0.01))
    }
    expect(memory.alarm).toBe('standing')
    expect(memory.alarmAfter(60, verdict(0.01))).toBe('standing')
    memory.apply(checkpoint(60, 0.01))
    expect(memory.alarmAfter(70, verdict(0.01))).toBe('cleared')
    expect(remembered(checkpoint(10, 0.01)).alarmAfter(20, verdict(0.2))).toBe('raised')
    expect(remembered(checkpoint(10, 0.01)).alarmAfter(20, verdict(0.01))).toBe('quiet')
  })

  it('should not count what came later in a run that went back', () => {
    const memory = remembered(
      checkpoint(10, 0.01),
      checkpoint(20, 0.01),
      checkpoint(30, 0.3),
      checkpoint(20, 0.02, 100),
    )
    expect(memory.seen).toEqual([10, 20])
    expect(memory.alarm).toBe('quiet')
    expect(memory.anew(20)).toEqual([expect.stringMatching(/^step 30 had been told of when this was/)])
    // The weights are known all the same.
    expect(memory.sha256Of(30)).toBe('sha 30 0.3')
    // A backlog is no step back: it was written before.
    expect(remembered(checkpoint(30, 0.3), checkpoint(20, 0.01)).seen).toEqual([20, 30])
  })

  it('should not count verdicts of before in a run that went back and comes to their steps again', () => {
    const final = { ...checkpoint(0, 0.4), step: 'final', writtenAt: undefined } as unknown as EventJson
    const memory = remembered(checkpoint(20, 0.3), checkpoint(30, 0.3), final, checkpoint(10, 0.01, 100))
    const again = {
      ...checkpoint(30, 0.01, 130),
      type: 'secured',
      folder: 'f',
      how: 'link',
      bytes: 1,
      files: [],
    }
    memory.apply(again as never)
    expect(memory.alarm).toBe('quiet')
    const verdict = { verdict: 'ok' as const, em: 0.01, threshold: THRESHOLD }
    expect(memory.alarmAfter(20, verdict)).toBe('quiet')
    expect(memory.sha256Of(30)).toBe('sha 30 0.3')
  })

  it('should not take the times of a copied folder for a run that went back', () => {
    // Copied in the order of names before the watch began, and measured the newest first: 20 has the latest time.
    const told = (event: EventJson) => ({ ...event, time: at(1000) }) as EventJson
    const memory = remembered(...[checkpoint(100, 0.3, 1), checkpoint(20, 0.01, 2)].map(told))
    expect(memory.seen).toEqual([20, 100])
    expect(memory.alarm).toBe('standing')
    // One that is written once all that is known does go back.
    memory.apply(checkpoint(30, 0.01, 1001))
    expect(memory.seen).toEqual([20, 30])
    expect(memory.alarm).toBe('quiet')
  })

  it('should not count for the alarm what was there before the folder was empty, once', () => {
    const emptySince = at(50)
    const memory = remembered({ ...checkpoint(30, 0.3), alarm: 'raised' } as never)
    expect(memory.alarm).toBe('standing')
    const bad = { ...checkpoint(40, 0.3, 60), emptySince } as EventJson & { verdict: never }
    memory.apply({ ...bad, type: 'secured', folder: 'f', how: 'link', bytes: 1, files: [] } as never)
    expect(memory.alarm).toBe('quiet')
    expect(memory.alarmAfter(40, bad.verdict)).toBe('raised')
    expect(memory.anew(40)).toEqual([expect.stringMatching(/^the folder was empty at 20/)])
    expect(memory.anew(30)).toEqual([])
    memory.apply({ ...checkpoint(50, 0.3, 61), emptySince } as never)
    memory.apply(bad)
    expect(memory.seen).toEqual([40, 50])
    expect(memory.alarm).toBe('standing')
  })

  it('should see a run go back, though a wrong clock has dated a checkpoint, or was set back', () => {
    const told = (step: number, em: number, writtenAt: number, time: number) =>
      ({ ...checkpoint(step, em, writtenAt), time: at(time) }) as EventJson
    const dated = remembered(told(20, 0.01, 10, 11), told(30, 0.3, 1e8, 21), told(20, 0.02, 100, 101))
    expect([dated.seen, dated.alarm]).toEqual([[20], 'quiet'])
    const setBack = remembered(told(20, 0.01, 1e8, 1e8), told(30, 0.3, 50, 51), told(20, 0.02, 100, 101))
    expect([setBack.seen, setBack.alarm]).toEqual([[20], 'quiet'])
  })

  it('should say that an alarm is over which went with its step', () => {
    const raised = { ...checkpoint(30, 0.3), alarm: 'raised' } as EventJson
    const memory = remembered(checkpoint(20, 0.01), raised)
    const back = checkpoint(10, 0.01, 100) as EventJson & { verdict: never }
    memory.apply({ ...back, type: 'secured', folder: 'f', how: 'link', bytes: 1, files: [] } as never)
    expect(memory.alarm).toBe('quiet')
    expect(memory.alarmAfter(10, back.verdict)).toBe('cleared')
    memory.apply({ ...back, alarm: 'cleared' } as EventJson)
    expect(memory.alarmAfter(20, back.verdict)).toBe('quiet')
  })

  it('should know what raised the alarm that stands, also where the log was begun anew', () => {
    const raised = { step: 20, time: at(20) }
    const memory = remembered(
      { ...checkpoint(20, 0.2), alarm: 'raised', time: at(20) } as never,
      { ...checkpoint(30, 0.2), alarm: 'standing', time: at(30) } as never,
    )
    expect(memory.resumed).toMatchObject({ alarm: 'standing', raised })
    const anew = remembered({
      type: 'baseline',
      conditions: CONDITIONS,
      resumed: memory.resumed,
      time: at(40),
    } as never)
    expect(anew.resumed).toMatchObject({ alarm: 'standing', raised })
    anew.apply(checkpoint(50, 0.01))
    anew.apply(checkpoint(60, 0.01))
    expect(anew.resumed).not.toHaveProperty('raised')
    anew.apply({ type: 'baseline', conditions: 'of others', time: at(70) } as never)
    anew.apply({ type: 'baseline', conditions: CONDITIONS, time: at(80) } as never)
    anew.apply(checkpoint(70, 0.2))
    expect(anew.resumed).not.toHaveProperty('raised')
  })

  it('should forget what was measured under other conditions, and keep what is secured', () => {
    const memory = remembered(checkpoint(10, 0.2), {
      ...{
        type: 'secured',
        step: 20,
        path: 'p',
        adapterSha256: 's',
        how: 'link',
        folder: '20-s',
        bytes: 1,
        files: [],
      },
    })
    memory.apply({ type: 'baseline', conditions: 'b'.repeat(64) } as never)
    expect([memory.measured, memory.alarm, memory.known(10)]).toEqual([0, 'quiet', undefined])
    expect(memory.secured.map(({ step }) => step)).toEqual([20])
  })

  it('should let go what is measured or lost, of these weights alone', () => {
    const secured = (step: number, sha: string): EventJson => ({
      ...{
        type: 'secured',
        step,
        path: 'p',
        adapterSha256: sha,
        how: 'copy',
        folder: `${step}-${sha}`,
        bytes: 1,
        files: [],
      },
    })
    const memory = remembered(
      secured(10, 'sha 10 0.01'),
      secured(10, 'other'),
      secured(20, 'x'),
      checkpoint(10, 0.01),
    )
    memory.apply({ type: 'lost', step: 20, reason: 'gone', adapterSha256: 'x' })
    expect(memory.secured.map(({ folder }) => folder)).toEqual(['10-other'])
  })

  it('should name steps that share their weights', () => {
    const same = { ...checkpoint(20, 0.01), adapterSha256: 'sha 10 0.01' } as EventJson
    const memory = remembered(checkpoint(10, 0.01), same)
    expect(memory.stepsOf('sha 10 0.01')).toEqual([10, 20])
    expect(memory.sameWeights(30, 'sha 10 0.01')).toEqual(['step 30 has the same weights as step 10, 20'])
    memory.apply(checkpoint(10, 0.02, 50))
    expect(memory.stepsOf('sha 10 0.01')).toEqual([20])
    // Of an adapter that is frozen each of thousands would name all before it.
    for (let step = 100; step < 1100; step++) memory.apply({ ...same, step } as EventJson)
    expect(memory.sameWeights(1100, 'sha 10 0.01')[0]).toMatch(
      /^step 1100 .* step 20, 100, .*, 108 and 991 more$/,
    )
  })
})
