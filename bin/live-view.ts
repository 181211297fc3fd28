/** A block of lines on a terminal that is redrawn in place. */
import type { Writable } from 'node:stream'
import { rendered } from './text.js'

export type Terminal = Writable & { isTTY?: boolean; columns?: number; rows?: number }

const HIDE_CURSOR = '\u001b[?25l'
const SHOW_CURSOR = '\u001b[?25h'
/** Terminals that know them show everything between the two at once; the others ignore them. */
const BEGIN = '\u001b[?2026h'
const END = '\u001b[?2026l'
const CLEAR_SCREEN = '\u001b[2J\u001b[H'
const TO_LINE_END = '\u001b[K'
const TO_SCREEN_END = '\u001b[J'

/**
 * Draws frames over one another: one write per frame, nothing is erased that is not written anew, so nothing
 * flickers. The cursor is hidden meanwhile and comes back however the process ends.
 */
export class LiveView implements Disposable {
  #height = 0
  #resized = false
  readonly #onResize = () => {
    this.#resized = true
  }
  readonly #onExit = () => void this.stream.write(SHOW_CURSOR)

  constructor(private readonly stream: Terminal) {
    stream.write(HIDE_CURSOR)
    stream.on('resize', this.#onResize)
    process.on('exit', this.#onExit)
  }

  /** @param lines no wider than the terminal; those that do not fit its height are left out */
  draw(lines: readonly string[]): void {
    const shown = lines.slice(0, Math.max(1, (this.stream.rows ?? 24) - 1))
    // After a resize nobody knows where the old lines have wrapped to.
    const home = this.#resized ? CLEAR_SCREEN : this.#height > 0 ? `\u001b[${this.#height}A\r` : ''
    this.stream.write(
      `${BEGIN}${home}${shown.map((line) => `${rendered(line, true)}${TO_LINE_END}\n`).join('')}${TO_SCREEN_END}${END}`,
    )
    this.#height = shown.length
    this.#resized = false
  }

  /** Leaves the last frame on the screen. */
  [Symbol.dispose](): void {
    this.stream.off('resize', this.#onResize)
    process.off('exit', this.#onExit)
    this.stream.write(SHOW_CURSOR)
  }
}
