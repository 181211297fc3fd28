import { describe, expect, it } from 'vitest'
import { TraitscopeError } from '../../lib/errors.js'
import { EVENT_SCHEMA, watchEventJson } from '../../lib/events/watch-events.js'

const throughJson = (value: unknown) => JSON.parse(JSON.stringify(value))

describe('watchEventJson', () => {
  it('should say the version of its schema and lose no field', () => {
    const event = { type: 'waiting', step: 20, reason: 'it is still being written' } as const
    expect(watchEventJson(event)).toEqual({ ...event, schemaVersion: EVENT_SCHEMA })
    expect(Object.keys(watchEventJson(event))[0]).toBe('type')
  })

  it('should keep the code and the sentence of an error', () => {
    const error = new TraitscopeError('FILE_INVALID', 'expected a header, found none', {
      cause: new Error('inner'),
    })
    expect(throughJson(watchEventJson({ type: 'error', step: 20, error }))).toEqual({
      type: 'error',
      schemaVersion: EVENT_SCHEMA,
      step: 20,
      error: { code: 'FILE_INVALID', message: 'expected a header, found none' },
    })
  })
})
