import { describe, expect, it } from 'vitest'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { openModel } from '../../lib/model/model.js'
import { skippedWithoutDevice } from '../helpers/device.js'
import { TINY_BASE } from '../helpers/tiny.js'

// A device hears of nothing while it computes a decode. Means need their whole batch in memory, so this is one decode.
const skipped = skippedWithoutDevice('abort and progress on a device')
const prompts = Array.from({ length: 50 }, (_, p) =>
  Int32Array.from({ length: 80 }, (_, i) => (p * 31 + i * 7) % 500),
)

describe.skipIf(skipped)('a decode on a device', () => {
  it('should say how far it is, and stop where it is told to', async () => {
    await using model = await openModel(TINY_BASE, { batchTokens: 4096 })
    expect(model.placement.device).toBe('RPC0')
    const seen: number[] = []
    const read = { layers: [3], pool: 'mean' as const }
    const whole = await hiddenStates(model, prompts, {
      ...read,
      onProgress: (fraction) => seen.push(fraction),
    })
    expect(seen.length).toBeGreaterThan(1)
    expect(seen.toSorted((a, b) => a - b)).toEqual(seen)
    expect(seen.at(-1)).toBe(1)

    const controller = new AbortController()
    const after: number[] = []
    const stopped = hiddenStates(model, prompts, {
      ...read,
      signal: controller.signal,
      onProgress: (fraction) => {
        after.push(fraction)
        controller.abort()
      },
    })
    await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' })
    expect(Math.max(...after)).toBeLessThan(1)
    const again = await hiddenStates(model, prompts, read)
    expect(again.data).toEqual(whole.data)
  })
})
