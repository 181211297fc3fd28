import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Pace } from '../../lib/monitor/pace.js'

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
afterEach(() => void vi.useRealTimers())

/** A checkpoint every `between` seconds, `count` of them. */
function arriving(pace: Pace, between: number, count: number): void {
  for (let i = 0; i < count; i++) {
    vi.advanceTimersByTime(1000 * between)
    pace.arrived(1)
  }
}

const at = (backlog: number) => ({ backlog, secured: backlog, secures: true })

describe('Pace', () => {
  it('should tell when checkpoints come faster than they are measured, and again when it is twice as bad', () => {
    const pace = new Pace()
    arriving(pace, 4, 6)
    const told = [1, 2, 3, 4, 5, 6, 7].map((backlog) => pace.passed(12, at(backlog)))
    expect(told.map((event) => event?.backlog)).toEqual([
      ...[undefined, undefined, 3, undefined, undefined, 6, undefined],
    ])
    expect(told[2]).toMatchObject({ secondsBetween: 4, secondsPerCheckpoint: 12, secured: 3 })
    expect(told[2]!.advice).toMatch(
      /every 4 s and takes 12 s: the last of 3 that wait has its verdict 36 s late/,
    )
  })

  it('should say nothing of a backlog that is measured faster than it grows', () => {
    const pace = new Pace()
    arriving(pace, 30, 6)
    for (let i = 0; i < 6; i++) expect(pace.passed(12, at(50))).toBe(undefined)
  })

  it('should begin anew when it has caught up', () => {
    const pace = new Pace()
    arriving(pace, 4, 6)
    for (const backlog of [3, 3, 3]) pace.passed(12, at(backlog))
    expect(pace.passed(12, at(3))).toBe(undefined)
    pace.passed(12, at(0))
    expect(pace.passed(12, at(3))).toMatchObject({ backlog: 3 })
  })

  it('should say what can be lost', () => {
    const advice = (more: Partial<ReturnType<typeof at>>) => {
      const pace = new Pace()
      arriving(pace, 4, 6)
      for (let i = 0; i < 2; i++) pace.passed(12, at(3))
      return pace.passed(12, { ...at(3), ...more })!.advice
    }
    expect(advice({})).toMatch(/none of them can be lost/)
    expect(advice({ secured: 1 })).toMatch(/2 of them are not secured/)
    expect(advice({ secured: 0, secures: false })).toMatch(/--secure link keeps them/)
  })
})
