import { describe, expect, it } from 'vitest'
import { assertComparable } from '../../lib/conditions/comparable.js'
import type { Conditions } from '../../lib/conditions/conditions.js'
import { fakeDirections } from '../directions/fake-directions.js'

const made = fakeDirections().conditions
const change = (edit: (conditions: Conditions) => void): Conditions => {
  const conditions = structuredClone(made)
  edit(conditions)
  return conditions
}
const CASES: [string, Conditions, RegExp][] = [
  [
    'base',
    change((c) => Object.assign(c.base, { fingerprint: 'e'.repeat(64) })),
    /base model is fake \(eeeeeeeeeeee\)/,
  ],
  [
    'template',
    change((c) => Object.assign(c.template, { sha256: '8'.repeat(64) })),
    /chat template is 888888888888/,
  ],
  [
    'system role',
    change((c) => Object.assign(c.template, { systemRole: 'user-turn' })),
    /system role is user-turn/,
  ],
  ['date', change((c) => Object.assign(c.template, { date: '2025-01-01' })), /date is 2025-01-01/],
  [
    'pack',
    change((c) => Object.assign(c.traitPack, { contentHash: 'd'.repeat(64) })),
    /trait pack is fake \(dddddddddddd\)/,
  ],
  ['pooling', change((c) => Object.assign(c, { pool: 'mean' })), /pooling is mean/],
]

describe('assertComparable', () => {
  it('should accept the same conditions, whatever file the pack came from', () => {
    expect(
      assertComparable(
        made,
        change((c) => Object.assign(c.traitPack, { sha256: 'b'.repeat(64) })),
      ),
    ).toEqual([])
  })

  it.each(CASES)('should refuse another %s and say which', (_, found, reason) => {
    expect(() => assertComparable(made, found)).toThrowError(
      expect.objectContaining({ code: 'NOT_COMPARABLE', message: expect.stringMatching(reason) }),
    )
  })

  it.each(CASES)('should return another %s for the record when it is allowed', (_, found, reason) => {
    expect(assertComparable(made, found, true)).toEqual([expect.stringMatching(reason)])
  })

  it('should never allow another width', () => {
    const found = change((c) => Object.assign(c.base, { nEmbd: 16 }))
    expect(() => assertComparable(made, found, true)).toThrowError(
      /8 dimensions, but this model's states have 16/,
    )
  })
})
