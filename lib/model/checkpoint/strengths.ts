import { computing, TraitscopeError } from '../../errors.js'
import type { AttachedAdapter } from '../attached-adapter.js'
import type { Model } from '../model.js'
import type { OpenCheckpoint } from './opened-checkpoint.js'

/** What a pass is made on. */
export interface OnModel {
  model: Model
  adapter?: AttachedAdapter | undefined
}

/**
 * Ascending, each once, without 1, which every checkpoint is read at.
 *
 * @throws TraitscopeError USAGE for one that is not above 0
 */
export function amplifyingStrengths(strengths: readonly number[] = []): number[] {
  const wrong = strengths.find((strength) => !(Number.isFinite(strength) && strength > 0))
  if (wrong !== undefined) {
    throw new TraitscopeError(
      'USAGE',
      `expected factors on the adapter above 0, e.g. 1.5 and 2, found ${wrong}`,
    )
  }
  return [...new Set(strengths)].filter((strength) => strength !== 1).sort((a, b) => a - b)
}

/**
 * Runs `read` on an opened checkpoint at further strengths. An attached adapter stays where it is, which costs nothing; a
 * merged one is merged anew.
 *
 * @param reopen opens the same checkpoint at a strength
 * @throws TraitscopeError USAGE for a whole model; what `read` throws, with the strength
 */
export async function atStrengths<T>(
  opened: OpenCheckpoint,
  strengths: readonly number[],
  reopen: (strength: number) => Promise<OpenCheckpoint>,
  read: (at: OnModel, strength: number) => Promise<T>,
): Promise<T[]> {
  const results: T[] = []
  for (const strength of strengths) {
    if (opened.how === 'convert') {
      throw new TraitscopeError(
        'USAGE',
        `expected an adapter to multiply by ${strength}, found a whole model; measure it without --adapter-scale`,
      )
    }
    try {
      if (opened.adapter)
        results.push(await read({ model: opened.model, adapter: opened.adapter.at(strength) }, strength))
      else {
        await using again = await reopen(strength)
        results.push(await read(again, strength))
      }
    } catch (error) {
      // Numbers overflow sooner the stronger an adapter is.
      throw computing(`at ${strength} times the adapter's effect`, error)
    }
  }
  return results
}
