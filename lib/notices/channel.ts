import type { Notice } from './notice.js'

/** Somewhere that notices go. */
export interface Channel {
  /** For people and logs: it names no secret. */
  readonly name: string
  /** How often it is worth trying. */
  readonly tries: number
  /** Which notices it takes; all, where it does not say. */
  accepts?(notice: Notice): boolean
  /** Of a channel that asks something of a trainer: whether this notice is such a request, which waits for no cool-down. */
  requests?(notice: Notice): boolean
  /**
   * Delivers a notice.
   *
   * @throws {@link Undelivered} with the reason; anything else counts as one that trying again may help
   */
  send(notice: Notice, signal: AbortSignal): Promise<void>
}

/** Why a notice did not arrive. The message names no secret. */
export class Undelivered extends Error {
  override readonly name = 'Undelivered'
  /** Trying again is of no use. */
  readonly isFinal: boolean
  /** How long the other side asks to wait, in ms. */
  readonly retryAfterMs: number | undefined

  constructor(
    message: string,
    { isFinal = false, retryAfterMs }: { isFinal?: boolean; retryAfterMs?: number | undefined } = {},
  ) {
    super(message)
    this.isFinal = isFinal
    this.retryAfterMs = retryAfterMs
  }
}
