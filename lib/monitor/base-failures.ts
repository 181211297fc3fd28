import { asTraitscopeError, type TraitscopeError } from '../errors.js'
import { Backoff, BaseChanged } from './failures.js'

/** What is done when the base cannot be used: it is told once, and tried again later. */
export class BaseFailures {
  readonly #backoff: Backoff
  #problem: string | undefined

  constructor(retryMs: number) {
    this.#backoff = new Backoff(retryMs)
  }

  get waits(): boolean {
    return this.#backoff.waits
  }

  /**
   * Does something that needs the base.
   *
   * @param tell called with what is news
   * @throws BaseChanged when it fails; as `use` when that was stopped
   */
  async orFails<T>(
    use: () => Promise<T>,
    { what, signal }: { what: string; signal: AbortSignal },
    tell: (error: TraitscopeError, retryMs: number) => Promise<void>,
  ): Promise<T> {
    try {
      const result = await use()
      this.#backoff.succeeded()
      this.#problem = undefined
      return result
    } catch (cause) {
      if (signal.aborted) throw cause
      const error = asTraitscopeError(cause, what)
      const retryMs = this.#backoff.failed()
      if (this.#problem !== error.message) {
        this.#problem = error.message
        await tell(error, retryMs)
      }
      throw new BaseChanged(error)
    }
  }
}
