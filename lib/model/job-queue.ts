import { setMaxListeners } from 'node:events'
import { abortedError, TraitscopeError, throwIfAborted } from '../errors.js'

/** Runs jobs one after another, in order of arrival; after `close()` no new one is taken. */
export class JobQueue {
  #tail: Promise<unknown> = Promise.resolve()
  #closed: Promise<void> | undefined

  get closed(): boolean {
    return this.#closed !== undefined
  }

  /**
   * @param signal takes the job out of the queue; once it runs, the job itself has to look at the signal
   * @throws TraitscopeError `MODEL_CLOSED` after close() was called, `ABORTED`
   */
  run<T>(job: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#closed) {
      return Promise.reject(
        new TraitscopeError('MODEL_CLOSED', 'the model was closed; open it again with openModel()'),
      )
    }
    if (signal?.aborted) return Promise.reject(abortedError(signal))
    let waiting = true
    const result = this.#tail.then(() => {
      throwIfAborted(signal)
      waiting = false
      return job()
    })
    this.#tail = result.catch(() => {})
    if (!signal) return result
    return new Promise((resolve, reject) => {
      const leave = () => {
        if (waiting) reject(abortedError(signal))
      }
      // Any number of jobs may wait with one signal: that is no leak, which Node would warn of.
      setMaxListeners(0, signal)
      signal.addEventListener('abort', leave, { once: true })
      result.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave))
    })
  }

  /** Waits for every job taken so far, then runs `last` once; later calls return the same promise. */
  close(last: () => Promise<void>): Promise<void> {
    this.#closed ??= this.#tail.then(last)
    return this.#closed
  }
}
