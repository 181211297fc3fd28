import { setTimeout as sleep } from 'node:timers/promises'
import { asTraitscopeError, type TraitscopeError, throwIfAborted } from '../errors.js'
import { isRotatedAway } from '../formats/run/checkpoint.js'

/**
 * What a failure means for the watch. `fatal`: nothing can be measured any more. `incomplete`: it is still being written.
 * `gone`: its files are going or gone. `environment`: full disks, permissions, short memory: the same may work later.
 * `fault`: of the checkpoint, until its files change.
 */
export type Failure = 'fatal' | 'incomplete' | 'gone' | 'environment' | 'fault'

const FATAL = ['MODEL_CLOSED', 'BINDING'] as const
const ENVIRONMENT = ['FILE_ACCESS', 'OUT_OF_MEMORY', 'DEVICE'] as const

export async function failureOf(error: TraitscopeError, path: string): Promise<Failure> {
  if (FATAL.some((code) => code === error.code)) return 'fatal'
  if (error.code === 'FILE_INCOMPLETE') return 'incomplete'
  if (await isRotatedAway(error, path)) return 'gone'
  return ENVIRONMENT.some((code) => code === error.code) ? 'environment' : 'fault'
}

const MOST_WAIT_MS = 5 * 60_000

/** A failure that may pass is tried again after so many intervals at first. */
const RETRY_INTERVALS = 5

/** @param intervalMs between two looks at a folder */
export const firstRetryMs = (intervalMs: number): number => RETRY_INTERVALS * intervalMs

/** Doubles from one failure to the next. */
export class Backoff {
  #failures = 0
  #until = 0

  constructor(private readonly firstMs: number) {}

  /** @returns milliseconds to wait */
  failed(): number {
    const wait = Math.min(MOST_WAIT_MS, this.firstMs * 2 ** this.#failures++)
    this.#until = performance.now() + wait
    return wait
  }

  succeeded(): void {
    this.#failures = 0
    this.#until = 0
  }

  get waits(): boolean {
    return performance.now() < this.#until
  }
}

/**
 * Does what a watch begins with, again and ever later while it finds no memory: the trainer may have it. Meanwhile no folder is looked at.
 *
 * @param tell called with what is news, and how long it waits
 * @throws as `use`, when it fails otherwise or `signal` has aborted
 */
export async function whenMemoryAllows<T>(
  use: () => Promise<T>,
  { firstMs, signal }: { firstMs: number; signal: AbortSignal },
  tell: (error: TraitscopeError, retryMs: number) => Promise<void>,
): Promise<T> {
  const backoff = new Backoff(firstMs)
  let told: string | undefined
  for (;;) {
    try {
      return await use()
    } catch (cause) {
      throwIfAborted(signal)
      const error = asTraitscopeError(cause, 'the beginning of the watch')
      if (error.code !== 'OUT_OF_MEMORY') throw error
      const retryMs = backoff.failed()
      if (told !== error.message) await tell(error, retryMs)
      told = error.message
      await sleep(retryMs, undefined, { signal }).catch(() => throwIfAborted(signal))
    }
  }
}

/** The base's file is another one than was opened: no checkpoint's fault. */
export class BaseChanged extends Error {
  constructor(override readonly cause: TraitscopeError) {
    super(cause.message)
  }
}
