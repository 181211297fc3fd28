import { TraitscopeError } from '../../errors.js'

/** Calls `work` on every item, so many at once; the first error ends it when those under way have ended. @throws TraitscopeError USAGE for fewer than 1 */
export async function inParallel<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  if (!(atOnce >= 1)) {
    throw new TraitscopeError('USAGE', `expected a judge with a concurrency of 1 or more, found ${atOnce}`)
  }
  let next = 0
  let failed: { error: unknown } | undefined
  const worker = async () => {
    while (next < items.length && !failed) {
      try {
        await work(items[next++]!)
      } catch (error) {
        failed ??= { error }
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
  if (failed) throw failed.error
}
