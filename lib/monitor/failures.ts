import type { TraitscopeError } from '../errors.js'
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

/** The base's file is another one than was opened: no checkpoint's fault. */
export class BaseChanged extends Error {
  constructor(override readonly cause: TraitscopeError) {
    super(cause.message)
  }
}
