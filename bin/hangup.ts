/** What a terminal that closes means. */
import { isatty } from 'node:tty'

/** Whether the terminal has closed under us: what was to be shown there meets EIO then. */
let isClosed = false

/**
 * A terminal that closes sends SIGHUP, and `nohup` has it ignored, which Node.js undoes when it starts. Under `nohup`, in a unit of
 * systemd or with all streams redirected nothing is shown in a terminal, and the work goes on; else it ends in order.
 *
 * @param end called where it ends
 * @param goOn called where it goes on
 */
export function onHangup(end: () => void, goOn: () => void): void {
  // Of a terminal that has closed nobody can tell any more that it was one.
  const isAttached = [0, 1, 2].some((stream) => isatty(stream))
  process.on('SIGHUP', () => {
    isClosed ||= isAttached
    if (isAttached) end()
    else goOn()
  })
}

/** Whether nobody is left to read a stream that fails like this. */
export const isUnread = ({ code }: NodeJS.ErrnoException): boolean =>
  code === 'EPIPE' || (code === 'EIO' && isClosed)

let isBesides = false

/** Says that what is printed is not what the work is for: where it cannot be written, a full disk for one, the work goes on. */
export function printsBesides(): void {
  isBesides = true
}

/** Whether {@link printsBesides} was said. */
export const isPrintedBesides = (): boolean => isBesides

/** Ends by the signal itself, once all is in order: Node.js 20 aborts when it leaves a terminal that is not there any more. */
export function endOfHangup(): void {
  if (!isClosed) return
  process.removeAllListeners('SIGHUP')
  process.kill(process.pid, 'SIGHUP')
}
