import { readFileSync } from 'node:fs'

/** Anonymous memory of this process in bytes: what it needs beside mapped files. Linux only, else undefined. */
function anonymousBytes(): number | undefined {
  try {
    const match = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))
    return match ? Number(match[1]) * 1024 : undefined
  } catch {
    return undefined
  }
}

/** Runs work and returns its result with the highest anonymous memory seen meanwhile, looked at every 20 ms. */
export async function withPeakMemory<T>(
  work: () => Promise<T>,
): Promise<{ result: T; peakBytes: number | undefined }> {
  let peakBytes = anonymousBytes()
  const look = () => {
    const now = anonymousBytes()
    if (now !== undefined) peakBytes = Math.max(peakBytes ?? 0, now)
  }
  const timer = setInterval(look, 20)
  try {
    const result = await work()
    look()
    return { result, peakBytes }
  } finally {
    clearInterval(timer)
  }
}
