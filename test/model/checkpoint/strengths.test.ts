import { describe, expect, it } from 'vitest'
import { TraitscopeError } from '../../../lib/errors.js'
import type { AttachedAdapter } from '../../../lib/model/attached-adapter.js'
import type { OpenCheckpoint } from '../../../lib/model/checkpoint/opened-checkpoint.js'
import { amplifyingStrengths, atStrengths } from '../../../lib/model/checkpoint/strengths.js'
import type { Model } from '../../../lib/model/model.js'

const base = { name: 'base' } as unknown as Model
const at = (strength: number) => ({ strength }) as AttachedAdapter
const opened = (parts: Partial<OpenCheckpoint>) => ({ model: base, ...parts }) as OpenCheckpoint
const never = () => Promise.reject(new Error('opened again'))

describe('amplifyingStrengths()', () => {
  it('should be ascending, each once, without the adapter as trained', () => {
    expect(amplifyingStrengths([3, 1, 0.5, 3])).toEqual([0.5, 3])
    expect(amplifyingStrengths()).toEqual([])
  })

  it.each([0, -2, Number.NaN, Number.POSITIVE_INFINITY])('should refuse %s', (strength) => {
    expect(() => amplifyingStrengths([2, strength])).toThrowError(
      expect.objectContaining({ code: 'USAGE', message: expect.stringContaining(String(strength)) }),
    )
  })
})

describe('atStrengths()', () => {
  it('should read an attached adapter where it is', async () => {
    const adapter = { at } as unknown as AttachedAdapter
    const read = await atStrengths(
      opened({ how: 'attach', adapter }),
      [2, 3],
      never,
      async (on, strength) => [on.model, on.adapter!.strength, strength],
    )
    expect(read).toEqual([
      [base, 2, 2],
      [base, 3, 3],
    ])
  })

  it('should merge another one anew, and close it', async () => {
    const events: string[] = []
    const reopen = async (strength: number) => {
      events.push(`open ${strength}`)
      const close = async () => void events.push(`close ${strength}`)
      return opened({ how: 'merge', [Symbol.asyncDispose]: close })
    }
    await atStrengths(opened({ how: 'merge' }), [2, 3], reopen, async (_, strength) =>
      events.push(`read ${strength}`),
    )
    expect(events).toEqual(['open 2', 'read 2', 'close 2', 'open 3', 'read 3', 'close 3'])
  })

  it('should refuse a whole model, which cannot be multiplied', async () => {
    await expect(atStrengths(opened({ how: 'convert' }), [2], never, async () => 0)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/whole model; measure it without/),
    })
    expect(await atStrengths(opened({ how: 'convert' }), [], never, async () => 0)).toEqual([])
  })

  it('should say at which strength numbers overflowed, and pass on what else is thrown', async () => {
    const adapter = { at } as unknown as AttachedAdapter
    const failing = (error: unknown) =>
      atStrengths(opened({ how: 'attach', adapter }), [4], never, () => Promise.reject(error))
    const overflow = new TraitscopeError('COMPUTE', 'a state is not finite')
    await expect(failing(overflow)).rejects.toMatchObject({
      code: 'COMPUTE',
      message: expect.stringMatching(/^at 4 times .*: a state is not finite$/),
      cause: overflow,
    })
    const other = new TraitscopeError('ABORTED', 'stopped')
    await expect(failing(other)).rejects.toBe(other)
  })
})
