import { readdirSync } from 'node:fs'
import { setPriority } from 'node:os'

/**
 * Makes way for other processes, as `nice` does: 0 to 19. On Linux a priority belongs to a thread and those that it starts, so
 * each that is there already gets it.
 */
export function makeWay(nice: number): void {
  setPriority(nice)
  for (const thread of threads()) {
    try {
      setPriority(thread, nice)
    } catch {
      // It has ended.
    }
  }
}

function threads(): number[] {
  try {
    return readdirSync('/proc/self/task').map(Number)
  } catch {
    return []
  }
}
