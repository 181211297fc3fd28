import { TraitscopeError } from '../errors.js'

/** Runs jobs one after another, in order of arrival; after `close()` no new one is taken. */
export class JobQueue {
  #tail: Promise<unknown> = Promise.resolve()
  #closed: Promise<void> | undefined

  get closed(): boolean {
    return this.#closed !== undefined
  }

  /** @throws TraitscopeError `MODEL_CLOSED` after close() was called. */
  run<T>(job: () => Promise<T>): Promise<T> {
    if (this.#closed) {
      return Promise.reject(
        new TraitscopeError('MODEL_CLOSED', 'the model was closed; open it again with openModel()'),
      )
    }
    const result = this.#tail.then(job)
    this.#tail = result.catch(() => {})
    return result
  }

  /** Waits for every job taken so far, then runs `last` once; later calls return the same promise. */
  close(last: () => Promise<void>): Promise<void> {
    this.#closed ??= this.#tail.then(last)
    return this.#closed
  }
}
