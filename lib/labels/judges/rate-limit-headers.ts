/** What a server says of its limits beside a reply: how long nothing should be asked. */

/** A pause that the other side asks for is kept up to this. */
const LONGEST_PAUSE_MS = 600_000

/** What is counted, as headers name it: by OpenAI and those who follow it, and by the draft of the IETF. */
const LIMITS = ['x-ratelimit-%-requests', 'x-ratelimit-%-tokens', 'ratelimit-%']
const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Of `retry-after-ms`, `retry-after` in seconds or as a date; undefined where neither is there. */
export function retryAfterMs(headers: Headers | undefined): number | undefined {
  const ms = headers?.get('retry-after-ms')
  if (ms && Number(ms) >= 0) return kept(Number(ms))
  const value = headers?.get('retry-after')
  if (!value) return undefined
  const seconds = Number(value)
  const wait = Number.isFinite(seconds) ? 1000 * seconds : Date.parse(value) - Date.now()
  return Number.isFinite(wait) ? kept(wait) : undefined
}

/**
 * Until a limit of which nothing remains is filled again; undefined while something remains of all.
 *
 * @param refused nothing remains, whatever is said of it
 */
export function resetMs(headers: Headers | undefined, refused = false): number | undefined {
  const waits = LIMITS.flatMap((name) => {
    const remaining = headers?.get(name.replace('%', 'remaining'))
    const reset = headers?.get(name.replace('%', 'reset'))
    if (!reset || (remaining ? Number(remaining) > 0 : !refused)) return []
    return durationMs(reset) ?? []
  })
  return waits.length === 0 ? undefined : kept(Math.max(...waits))
}

/** `12` seconds, `250ms`, `6m0s`; undefined for anything else, e.g. a time of day. */
function durationMs(text: string): number | undefined {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) < 1e6 ? 1000 * Number(text) : undefined
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return undefined
  return [...text.matchAll(/([\d.]+)(ms|s|m|h|d)/g)].reduce(
    (sum, [, n, unit]) => sum + Number(n) * UNITS[unit!]!,
    0,
  )
}

const kept = (ms: number) => Math.min(Math.max(0, ms), LONGEST_PAUSE_MS)
