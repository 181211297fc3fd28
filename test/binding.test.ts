import { describe, expect, it } from 'vitest'
import { fromNative } from '../lib/binding.js'
import { TraitscopeError } from '../lib/errors.js'

describe('fromNative', () => {
  it('should give errors of the addon their code', () => {
    const native = Object.assign(new Error('why'), { code: 'COMPUTE' })
    const error = fromNative(native)
    expect(error).toBeInstanceOf(TraitscopeError)
    expect(error).toMatchObject({ code: 'COMPUTE', message: 'why', cause: native })
  })

  it('should call a typed array that cannot be allocated OUT_OF_MEMORY', () => {
    const error = fromNative(new RangeError('Array buffer allocation failed'))
    expect(error).toMatchObject({ code: 'OUT_OF_MEMORY', message: expect.stringContaining('fewer prompts') })
  })

  it('should pass everything else unchanged', () => {
    for (const other of [new Error('a'), new TraitscopeError('USAGE', 'b'), 'text', undefined]) {
      expect(fromNative(other)).toBe(other)
    }
  })
})
