/**
 * Values from whoever pushes them to one reader, in order. A push is fulfilled when the reader comes back for the next value,
 * so that who waits for it goes on when the value has been dealt with.
 */
export class AsyncQueue<T> implements AsyncIterableIterator<T> {
  readonly #values: { value: T; taken: () => void }[] = []
  #out: (() => void) | undefined
  #reader: (() => void) | undefined
  #end: { error?: unknown } | undefined

  push(value: T): Promise<void> {
    if (this.#end) return Promise.resolve()
    return new Promise((taken) => {
      this.#values.push({ value, taken })
      this.#reader?.()
    })
  }

  /** Ends it behind what has been pushed. */
  close(): void {
    this.#end ??= {}
    this.#reader?.()
  }

  /** As {@link close}, with an error for the reader. */
  fail(error: unknown): void {
    this.#end ??= { error }
    this.#reader?.()
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    this.#out?.()
    this.#out = undefined
    while (this.#values.length === 0 && !this.#end) {
      await new Promise<void>((resolve) => {
        this.#reader = resolve
      })
    }
    const first = this.#values.shift()
    if (first) {
      this.#out = first.taken
      return { done: false, value: first.value }
    }
    if (this.#end && 'error' in this.#end) throw this.#end.error
    return { done: true, value: undefined }
  }

  /** The reader has gone: nobody waits for it any more. */
  async return(): Promise<IteratorResult<T, undefined>> {
    this.close()
    this.#out?.()
    for (const { taken } of this.#values.splice(0)) taken()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
