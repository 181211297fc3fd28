import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ERROR_CODES, isTraitscopeError, TraitscopeError, throwIfAborted } from '../lib/errors.js'
import { packageRoot } from '../lib/package.js'

describe('ERROR_CODES', () => {
  it('should all be documented, in their order', () => {
    const page = readFileSync(join(packageRoot, 'docs/errors.md'), 'utf8')
    expect([...page.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1])).toEqual([...ERROR_CODES])
  })

  it('should be what the core throws', () => {
    const core = readFileSync(join(packageRoot, 'native/core/error.cpp'), 'utf8')
    const names = [...core.matchAll(/return "([A-Z_]+)"/g)].map((match) => match[1]!)
    expect(names.length).toBeGreaterThan(5)
    expect(names.filter((name) => !(ERROR_CODES as readonly string[]).includes(name))).toEqual([])
  })
})

describe('TraitscopeError', () => {
  it('should carry code and cause', () => {
    const cause = new Error('below')
    const error = new TraitscopeError('COMPUTE', 'above', { cause })
    expect(error).toMatchObject({ name: 'TraitscopeError', code: 'COMPUTE', message: 'above', cause })
    expect(isTraitscopeError(error)).toBe(true)
    expect(isTraitscopeError(error, 'COMPUTE')).toBe(true)
    expect(isTraitscopeError(error, 'USAGE')).toBe(false)
    expect(isTraitscopeError(cause)).toBe(false)
  })
})

describe('throwIfAborted', () => {
  it('should throw ABORTED with the reason of the signal, and only then', () => {
    throwIfAborted(undefined)
    throwIfAborted(new AbortController().signal)
    const reason = new Error('why')
    expect(() => throwIfAborted(AbortSignal.abort(reason))).toThrow(
      expect.objectContaining({ code: 'ABORTED', cause: reason }),
    )
  })
})
