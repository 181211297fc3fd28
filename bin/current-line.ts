import type { Output, ProgressLine, ProgressOptions } from './output.js'

/** The line of what is being done: another one when that changes, and none when it is disposed of. */
export class CurrentLine implements Disposable {
  #what: string | undefined
  #line: ProgressLine | undefined

  constructor(
    private readonly output: Output,
    private readonly options: ProgressOptions = {},
  ) {}

  readonly show = (what: string, fraction?: number): void => {
    if (what !== this.#what) {
      this[Symbol.dispose]()
      this.#what = what
      this.#line = this.output.progress(what, this.options)
    }
    if (fraction !== undefined) this.#line!.update(fraction)
  };

  [Symbol.dispose](): void {
    this.#line?.done()
    this.#what = this.#line = undefined
  }
}
