import { whyNot } from './webhook-channel.js'

/** Calls a URL now and then for as long as the process lives, so that somebody else notices when it does not. */
export class Heartbeat implements Disposable {
  readonly #timer: NodeJS.Timeout
  #isDown = false

  /**
   * @param url a secret; no message names it
   * @param onChange called when calls begin to fail, with the reason, and when they go through again
   * @param everyMs default a minute
   * @param timeoutMs default 10 s
   */
  constructor(
    url: string,
    private readonly onChange: (reason: string | undefined) => void,
    everyMs = 60_000,
    private readonly timeoutMs = 10_000,
  ) {
    const beat = () => void this.#beat(url)
    this.#timer = setInterval(beat, everyMs).unref()
    beat()
  }

  async #beat(url: string): Promise<void> {
    const reason = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(this.timeoutMs) }).then(
      async (response) => {
        await response.body?.cancel()
        return response.ok ? undefined : `it answered ${response.status}`
      },
      (error: unknown) => whyNot(error, this.timeoutMs),
    )
    if ((reason !== undefined) === this.#isDown) return
    this.#isDown = reason !== undefined
    this.onChange(reason)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}
