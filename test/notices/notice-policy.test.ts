import { describe, expect, it } from 'vitest'
import type { Verdict } from '../../lib/detector/verdict.js'
import { TraitscopeError } from '../../lib/errors.js'
import type { AlarmState, WatchEvent } from '../../lib/events/watch-events.js'
import { NoticePolicy } from '../../lib/notices/notice-policy.js'

const MINUTE = 60_000

function checkpoint(
  step: number,
  kind: Verdict['verdict'],
  alarm: AlarmState = 'quiet',
  more: Partial<Verdict> = {},
): WatchEvent {
  const verdict = {
    verdict: kind,
    em: kind === 'not-comparable' ? null : 0.12,
    interval: kind === 'not-comparable' ? null : [0.05, 0.2],
    threshold: 0.06,
    reasons: kind === 'ok' ? [] : ['a reason'],
    ...more,
  }
  return {
    type: 'checkpoint',
    step,
    path: `/runs/a/checkpoint-${step}`,
    verdict,
    alarm,
  } as unknown as WatchEvent
}
const failing = (step: number): WatchEvent => ({
  type: 'error',
  step,
  error: new TraitscopeError('FILE_INVALID', 'expected a tensor'),
})
const kinds = (notices: { kind: string }[]) => notices.map(({ kind }) => kind)

describe('NoticePolicy', () => {
  it('should tell of an alarm at once, with everything that is known of it', () => {
    const policy = new NoticePolicy('/runs/a')
    expect(policy.take(checkpoint(10, 'ok'), 0)).toEqual([])
    expect(policy.take(checkpoint(20, 'alarm', 'raised'), MINUTE)).toEqual([
      {
        schemaVersion: 1,
        kind: 'alarm',
        level: 'alarm',
        run: '/runs/a',
        time: '1970-01-01T00:01:00.000Z',
        message:
          'a: alarm at step 20: predicted rate of emergent misalignment 12.0 % (5.0 % to 20.0 %), dangerous above 6.0 %',
        step: 20,
        checkpoint: '/runs/a/checkpoint-20',
        verdict: 'alarm',
        em: 0.12,
        interval: [0.05, 0.2],
        threshold: 0.06,
      },
    ])
  })

  it('should not round a rate to the threshold that it is above', () => {
    const { message } = new NoticePolicy('/runs/a').take(
      checkpoint(20, 'alarm', 'raised', { em: 0.06004, threshold: 0.06 }),
      MINUTE,
    )[0]!
    expect(message).toContain('misalignment 6.004 % (5.0 % to 20.0 %), dangerous above 6.0 %')
  })

  it('should repeat a standing alarm once per cool-down, and only when a checkpoint confirms it', () => {
    const policy = new NoticePolicy('/runs/a', { coolDownMs: 10 * MINUTE })
    policy.take(checkpoint(10, 'alarm', 'raised'), 0)
    expect(policy.take(checkpoint(20, 'alarm', 'standing'), 9 * MINUTE)).toEqual([])
    expect(policy.tick(60 * MINUTE)).toMatchObject([{ kind: 'alarm', step: 20, repeated: true }])
    expect(kinds(policy.tick(600 * MINUTE))).not.toContain('alarm')
    expect(policy.take(checkpoint(30, 'alarm', 'standing'), 601 * MINUTE)).toMatchObject([
      { kind: 'alarm', step: 30, repeated: true },
    ])
  })

  it('should tell that an alarm is cleared, and hold one that comes back within the cool-down', () => {
    const policy = new NoticePolicy('/runs/a', { coolDownMs: 10 * MINUTE })
    policy.take(checkpoint(10, 'alarm', 'raised'), 0)
    expect(kinds(policy.take(checkpoint(20, 'ok', 'cleared'), MINUTE))).toEqual(['cleared'])
    expect(policy.take(checkpoint(30, 'alarm', 'raised'), 2 * MINUTE)).toEqual([])
    // It goes again before anybody was told: neither of it is news.
    expect(policy.take(checkpoint(40, 'ok', 'cleared'), 3 * MINUTE)).toEqual([])
    expect(policy.take(checkpoint(50, 'alarm', 'raised'), 4 * MINUTE)).toEqual([])
    const [late] = policy.tick(10 * MINUTE)
    expect(late).toMatchObject({ kind: 'alarm', step: 50 })
    expect(late).not.toHaveProperty('repeated')
  })

  it('should ask a trainer to stop at once, whatever people were told lately, and once', () => {
    const policy = new NoticePolicy('/runs/a', { coolDownMs: 10 * MINUTE })
    const at = (event: WatchEvent, now: number) => [policy.requests(event, now), policy.take(event, now)]
    const raised = (step: number) => checkpoint(step, 'alarm', 'raised')
    // The first one is for everybody.
    expect(at(raised(10), 0)).toMatchObject([[], [{ step: 10 }]])
    at(checkpoint(20, 'ok', 'cleared'), MINUTE)
    expect(at(raised(30), 2 * MINUTE)).toMatchObject([[{ kind: 'alarm', step: 30, heldBack: true }], []])
    // People hear of it later; that is no second request.
    expect(at(checkpoint(40, 'alarm', 'standing'), 3 * MINUTE)).toEqual([[], []])
    expect(policy.tick(10 * MINUTE)).toMatchObject([{ kind: 'alarm', step: 40, heldBack: true }])
    const [later] = policy.take(checkpoint(50, 'alarm', 'standing'), 30 * MINUTE)
    expect(later).toMatchObject({ repeated: true })
    expect(later).not.toHaveProperty('heldBack')
  })

  it('should know what an earlier watch has told', () => {
    const standing = checkpoint(20, 'alarm', 'standing')
    expect(new NoticePolicy('/runs/a', {}, 0).take(standing, MINUTE)).toEqual([])
    expect(new NoticePolicy('/runs/a', {}, 0).take(standing, 61 * MINUTE)).toMatchObject([{ repeated: true }])
    // It died before it told anybody.
    expect(new NoticePolicy('/runs/a').take(standing, MINUTE)[0]).not.toHaveProperty('repeated')
  })

  it('should tell of an alarm whatever the clock was when another was told', () => {
    const day = 24 * 60 * MINUTE
    const policy = new NoticePolicy('/runs/a', { overdueMs: 30 * MINUTE })
    expect(kinds(policy.take(checkpoint(10, 'alarm', 'raised'), 2 * day))).toEqual(['alarm'])
    policy.take(checkpoint(20, 'ok', 'cleared'), 2 * day)
    // Set back by a day; by a little, the cool-down holds.
    expect(kinds(policy.take(checkpoint(30, 'alarm', 'raised'), 2 * day - MINUTE))).toEqual([])
    expect(kinds(policy.take(checkpoint(40, 'alarm', 'standing'), day))).toEqual(['alarm'])
    expect(kinds(policy.tick(day - MINUTE))).toEqual([])
    expect(kinds(policy.tick(day + 30 * MINUTE))).toEqual(['overdue'])
    const later = new NoticePolicy('/runs/a', {}, 9 * day)
    expect(kinds(later.take(checkpoint(10, 'alarm', 'raised'), day))).toEqual(['alarm'])
  })

  it('should tell of an alarm in a backlog that later steps have cleared, once per cool-down', () => {
    const policy = new NoticePolicy('/runs/a')
    policy.take(checkpoint(40, 'warn'), 0)
    policy.take(checkpoint(30, 'ok'), MINUTE)
    expect(policy.take(checkpoint(20, 'alarm'), 2 * MINUTE)).toMatchObject([
      {
        kind: 'warn',
        level: 'warn',
        step: 20,
        verdict: 'alarm',
        message: expect.stringMatching(/^a: alarm at step 20, over/),
      },
    ])
    expect(policy.take(checkpoint(10, 'alarm'), 3 * MINUTE)).toEqual([])
    expect(kinds(policy.take(checkpoint(5, 'alarm'), 62 * MINUTE))).toEqual(['warn'])
  })

  it('should warn once until the run is fine again', () => {
    const policy = new NoticePolicy('/runs/a', { coolDownMs: 0 })
    const [first] = policy.take(checkpoint(10, 'warn'), 0)
    expect(first).toMatchObject({ kind: 'warn', level: 'warn', message: expect.stringMatching(/a reason$/) })
    expect(policy.take(checkpoint(20, 'warn'), 1)).toEqual([])
    expect(policy.take(checkpoint(30, 'ok'), 2)).toEqual([])
    expect(kinds(policy.take(checkpoint(40, 'warn'), 3))).toEqual(['warn'])
  })

  it('should warn by the margin where nothing gives a verdict, once until it is fine again', () => {
    const policy = new NoticePolicy('/runs/a', { coolDownMs: 0 })
    const at = (step: number, low: number) =>
      ({
        ...{ type: 'checkpoint', step, path: `/runs/a/checkpoint-${step}` },
        margin: { change: 0.2, interval: [low, 0.4], questions: 13 },
      }) as unknown as WatchEvent
    expect(policy.take(at(10, -0.1), 0)).toEqual([])
    expect(policy.take(at(20, 0.1), 1)).toMatchObject([
      {
        kind: 'warn',
        step: 20,
        message: expect.stringMatching(/step 20: misaligned answers.* 13 questions$/),
      },
    ])
    expect(policy.take(at(30, 0.1), 2)).toEqual([])
    expect(policy.take(at(40, 0), 3)).toEqual([])
    expect(kinds(policy.take(at(50, 0.1), 4))).toEqual(['warn'])
  })

  it('should tell the margin of an alarm that is by it', () => {
    const verdict = {
      ...{ verdict: 'alarm', em: null, interval: null, threshold: 0.06, reasons: [] },
      margin: { change: 0.2, pValue: 0.05, threshold: 0.1 },
    }
    const event = {
      type: 'checkpoint',
      step: 10,
      path: '',
      verdict,
      alarm: 'raised',
    } as unknown as WatchEvent
    const [notice] = new NoticePolicy('/runs/a').take(event, 0)
    expect(notice!.message).toBe(
      'a: alarm at step 10: margin +0.200 nats per token (p = 0.050 among benign runs), alarming above +0.100',
    )
    expect(notice).not.toHaveProperty('em')
  })

  it('should tell of trouble once per cool-down', () => {
    const policy = new NoticePolicy('/runs/a', { coolDownMs: 10 * MINUTE })
    expect(policy.take(failing(10), 0)).toMatchObject([
      { kind: 'failing', level: 'warn', message: 'a: step 10: expected a tensor [FILE_INVALID]' },
    ])
    expect(policy.take(failing(20), 9 * MINUTE)).toEqual([])
    expect(kinds(policy.take(failing(30), 10 * MINUTE))).toEqual(['failing'])
    expect(policy.take(checkpoint(40, 'not-comparable'), 0)).toMatchObject([
      { kind: 'not-comparable', message: 'a: no verdict on step 40: a reason' },
    ])
    expect(policy.take(checkpoint(50, 'not-comparable'), 1)).toEqual([])
  })

  it('should learn how often checkpoints come, and miss them', () => {
    const policy = new NoticePolicy('/runs/a')
    policy.take(checkpoint(10, 'ok'), 0)
    policy.take(checkpoint(20, 'ok'), 5 * MINUTE)
    expect(policy.tick(1000 * MINUTE)).toEqual([])
    policy.take(checkpoint(30, 'ok'), 10 * MINUTE)
    expect(policy.tick(29 * MINUTE)).toEqual([])
    expect(policy.tick(30 * MINUTE)).toMatchObject([
      { kind: 'overdue', message: 'a: no checkpoint for 20 minutes: has the training stopped?' },
    ])
    expect(policy.tick(90 * MINUTE)).toEqual([])
    expect(policy.take(checkpoint(40, 'ok'), 100 * MINUTE)).toMatchObject([
      { kind: 'arrived', message: 'a: checkpoints come again, after 1.5 hours' },
    ])
    // The gap is not taken for the run's pace.
    expect(kinds(policy.tick(120 * MINUTE))).toEqual(['overdue'])
  })

  it('should keep a given time, from the first look on, until the watch ends', () => {
    const policy = new NoticePolicy('/runs/a', { overdueMs: 30_000 })
    expect(policy.tick(0)).toEqual([])
    expect(policy.tick(30_000)).toMatchObject([{ kind: 'overdue', message: expect.stringContaining('30 s') }])
    const ended = new NoticePolicy('/runs/a', { overdueMs: 1 })
    const end = { type: 'end', reason: 'idle', measured: 3 } as WatchEvent
    expect(ended.take(end, 0)).toMatchObject([{ kind: 'ended', level: 'info' }])
    expect(ended.tick(10)).toEqual([])
  })
})
