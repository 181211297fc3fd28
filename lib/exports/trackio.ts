import { TraitscopeError } from '../errors.js'
import { sha256 } from '../formats/files/hash.js'
import type { Point, RunView } from '../report/run-view.js'
import { shortNames } from '../report/sentences.js'
import { type Exporter, figuresOf, NO_STEP } from './exporter.js'

export interface TrackioOptions {
  project?: string | undefined
  /** A local server's write token, or a Hugging Face token for a Space. */
  token?: string | undefined
  timeoutMs?: number | undefined
}

/**
 * Logs checkpoints to a Trackio server over HTTP (`POST /api/bulk_log`, tried with Trackio 0.43). Every entry has an id made of
 * run, step and weights, by which the server knows one that it has.
 */
export class TrackioExporter implements Exporter {
  readonly name = 'Trackio'
  readonly #url: URL
  readonly #options: TrackioOptions

  /** @throws USAGE for what is no address of a server */
  constructor(address: string, options: TrackioOptions = {}) {
    const url = URL.canParse(address) ? new URL(address) : undefined
    if (url === undefined || !/^https?:$/.test(url.protocol)) {
      throw new TraitscopeError(
        'USAGE',
        `expected the http address of a Trackio server, found ${JSON.stringify(address)}`,
      )
    }
    // What `trackio show` prints may carry the token.
    const token = options.token ?? url.searchParams.get('write_token') ?? undefined
    this.#url = new URL('api/bulk_log', `${url.origin}${url.pathname.replace(/\/?$/, '/')}`)
    this.#options = { ...options, token }
  }

  /** @throws NETWORK when the server cannot be reached or refuses */
  async checkpoint(view: RunView, point: Point): Promise<string | undefined> {
    const { step, seq = 0 } = point
    if (step === 'final') return NO_STEP
    const { project = 'traitscope', token, timeoutMs = 10_000 } = this.#options
    const run = shortNames([view.run])[0]!
    const entry = {
      project,
      run,
      step,
      metrics: {
        ...figuresOf(view, point),
        ...(point.verdict && { verdict: point.verdict.verdict }),
      },
      log_id: sha256(JSON.stringify([view.run, step, seq, point.read])).slice(0, 32),
    }
    const response = await fetch(this.#url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(token !== undefined && { 'x-trackio-write-token': token }),
      },
      body: JSON.stringify({ logs: [entry], hf_token: token?.startsWith('hf_') ? token : null }),
      signal: AbortSignal.timeout(timeoutMs),
    }).catch((cause: unknown) => {
      throw this.#failed(`cannot be reached: ${reasonOf(cause)}`, cause)
    })
    if (!response.ok) {
      const said = (await response.text().catch(() => '')).slice(0, 200)
      const need = token === undefined ? '; a token goes into TRAITSCOPE_TRACKIO_TOKEN' : ''
      throw this.#failed(`answers ${response.status}: ${said}${need}`, undefined)
    }
    // A body that nobody reads keeps its connection.
    await response.body?.cancel()
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #failed(how: string, cause: unknown): TraitscopeError {
    return new TraitscopeError('NETWORK', `the Trackio server at ${this.#url.origin} ${how}`, {
      cause,
    })
  }
}

function reasonOf(error: unknown): string {
  const cause = (error as { cause?: unknown }).cause
  return ((cause instanceof Error ? cause : error) as Error).message
}
