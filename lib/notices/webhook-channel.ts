import { TraitscopeError } from '../errors.js'
import { type Channel, Undelivered } from './channel.js'
import type { Notice } from './notice.js'

export const WEBHOOK_FORMATS = ['generic', 'slack', 'discord', 'ntfy'] as const
/** What a server expects in the body. */
export type WebhookFormat = (typeof WEBHOOK_FORMATS)[number]

export interface WebhookOptions {
  /** Default: by the host, `generic` where that is unknown. */
  format?: WebhookFormat | undefined
  /** Sent as a bearer token. */
  token?: string | undefined
  /** Default 10,000. */
  timeoutMs?: number | undefined
}

/** Hosts that say what they are. */
const HOSTS: readonly [host: RegExp, format: WebhookFormat][] = [
  [/^hooks\.slack(-gov)?\.com$/, 'slack'],
  [/^(\w+\.)?discord(app)?\.com$/, 'discord'],
  [/^ntfy\.sh$/, 'ntfy'],
]

/**
 * Posts every notice to a URL: as it is (`generic`), or as Slack, Discord and ntfy have it. URL and token are secrets, so no
 * message names more than the host.
 */
export class WebhookChannel implements Channel {
  readonly name: string
  readonly tries = 6
  readonly #url: URL
  readonly #format: WebhookFormat
  readonly #options: WebhookOptions

  /** @throws TraitscopeError USAGE for what is no http(s) URL; it is not repeated, because it may hold a secret */
  constructor(url: string, options: WebhookOptions = {}) {
    const parsed = URL.canParse(url) ? new URL(url) : undefined
    if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) {
      throw new TraitscopeError(
        'USAGE',
        'expected a webhook that begins with https:// or http://, found another text',
      )
    }
    this.#url = parsed
    this.#options = options
    this.#format = options.format ?? HOSTS.find(([host]) => host.test(parsed.hostname))?.[1] ?? 'generic'
    this.name = `webhook at ${parsed.host} (${this.#format})`
  }

  async send(notice: Notice, signal: AbortSignal): Promise<void> {
    const { timeoutMs = 10_000, token } = this.#options
    const { url, body } = this.#request(notice)
    let response: Response
    try {
      response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
        body: JSON.stringify(body),
        // A secret is not carried to another place.
        redirect: 'manual',
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      })
      await response.body?.cancel()
    } catch (error) {
      const why = signal.aborted ? 'the watch ended before it answered' : whyNot(error, timeoutMs)
      throw new Undelivered(why)
    }
    if (response.ok) return
    const { status } = response
    const again = status === 429 || status === 408 || status >= 500
    throw new Undelivered(`it answered ${status}`, { isFinal: !again, retryAfterMs: retryAfter(response) })
  }

  #request(notice: Notice): { url: URL; body: unknown } {
    const url = this.#url
    const text = `${MARKS[notice.level]} ${notice.message}`
    switch (this.#format) {
      case 'slack':
        return {
          url,
          body: { text: text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;') },
        }
      case 'discord':
        // A run that is called @everyone wakes nobody.
        return { url, body: { content: text.slice(0, 2000), allowed_mentions: { parse: [] } } }
      case 'ntfy': {
        const topic = decodeURIComponent(url.pathname.split('/').filter(Boolean).at(-1) ?? '')
        const root = new URL(url)
        root.pathname = url.pathname.replace(/\/?[^/]+\/?$/, '') || '/'
        return {
          url: root,
          body: {
            topic,
            title: `traitscope: ${notice.kind}`,
            message: notice.message,
            priority: PRIORITIES[notice.level],
          },
        }
      }
      default:
        return { url, body: notice }
    }
  }
}

const MARKS = { alarm: '[ALARM]', warn: '[warning]', info: '[info]' } as const
const PRIORITIES = { alarm: 5, warn: 4, info: 2 } as const

/** What went wrong, without the URL that Node's messages may repeat. */
export function whyNot(error: unknown, timeoutMs: number): string {
  if ((error as Error).name === 'TimeoutError') return `no answer within ${timeoutMs / 1000} s`
  const { code } = ((error as Error).cause ?? {}) as { code?: string }
  return code === undefined ? 'the connection failed' : `the connection failed (${code})`
}

function retryAfter(response: Response): number | undefined {
  const said = response.headers.get('retry-after')
  if (said === null) return undefined
  const seconds = /^\d+$/.test(said) ? Number(said) : (Date.parse(said) - Date.now()) / 1000
  return Number.isFinite(seconds) && seconds > 0 ? 1000 * seconds : undefined
}
