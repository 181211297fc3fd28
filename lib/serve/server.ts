import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, isIP } from 'node:net'
import { TraitscopeError } from '../errors.js'
import { errnoOf } from '../formats/files/file-errors.js'
import { packageVersion } from '../package.js'
import type { LabelFolders } from '../report/run-labels.js'
import { answerOf, parseCheckpointRequest, runOfRequest } from './checkpoint-request.js'
import { parseCursor, streamEvents } from './event-stream.js'
import { isEqual, refusalOf, TOKEN_COOKIE } from './guard.js'
import { metricsText } from './metrics.js'
import type { RunFeed } from './run-feed.js'
import type { RunSummary } from './run-summary.js'

export interface ServeOptions {
  /** Default 127.0.0.1; any other needs a token. */
  host?: string | undefined
  /** Default 7077; 0 for a free one. */
  port?: number | undefined
  /** Further names that the server is called by. */
  allowHosts?: readonly string[] | undefined
  token?: string | undefined
  /** The page at `/`, and what its Content-Security-Policy has to allow. */
  page?: { html: string; policy: string } | undefined
  /** Where `label` has left what it found out about the runs. */
  labels?: LabelFolders | undefined
  /** Called with the run of every checkpoint that a trainer posts: a reason to look now. */
  onPosted?: ((run: string) => void) | undefined
}

/** A server that listens. */
export interface Served extends AsyncDisposable {
  /** E.g. `http://127.0.0.1:7077`. */
  url: string
}

const LARGEST_BODY = 64 << 10
/** Room for the cursor of some thousands of runs in the address of `/events`. */
const LARGEST_HEAD = 512 << 10
const MOST_STREAMS = 64
/** Who has sent and taken nothing for so long, or twice as long, is let go; one that reads events comes back with its cursor. */
const STALLED_MS = 60_000
const LOOPBACK = ['127.0.0.1', '::1', 'localhost']

/**
 * Serves what watches tell: a page, `GET /runs`, `/events` (server-sent), `/metrics` (Prometheus), `/health`, and `POST
 * /checkpoint` for trainers. It reads logs alone; nothing that it is sent names a file to open.
 *
 * @param stalledMs until a client is let go that neither sends nor takes anything
 * @throws TraitscopeError USAGE for a host other than this machine without a token, and for an address that is taken
 */
export async function serve(
  feed: RunFeed,
  options: ServeOptions = {},
  stalledMs = STALLED_MS,
): Promise<Served> {
  const { host = '127.0.0.1', port = 7077, token } = options
  if (!LOOPBACK.includes(host) && token === undefined) {
    throw new TraitscopeError(
      'USAGE',
      `expected a token to listen on ${host}, which others can reach, found none; put one into TRAITSCOPE_TOKEN, or listen on 127.0.0.1`,
    )
  }
  const hosts = [...LOOPBACK, ...(isAny(host) ? [] : [host]), ...(options.allowHosts ?? [])].map((one) =>
    one.toLowerCase(),
  )
  const handler = new Handler(feed, options, hosts)
  const limits = { requestTimeout: 10_000, headersTimeout: 10_000, maxHeaderSize: LARGEST_HEAD }
  const server = createServer(limits, (request, response) => {
    handler.answer(request, response).catch((error: unknown) => {
      if (!response.headersSent) send(response, 500, { error: 'internal', message: (error as Error).message })
      else response.destroy()
    })
  })
  server.setTimeout(stalledMs)
  await listen(server, port, host)
  const { port: bound } = server.address() as AddressInfo
  const shown = isIP(host) === 6 ? `[${host}]` : host
  return {
    url: `http://${shown}:${bound}`,
    [Symbol.asyncDispose]: () => {
      server.closeAllConnections()
      return new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

const isAny = (host: string) => host === '0.0.0.0' || host === '::'

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: Error) => {
      const why = errnoOf(cause) === 'EADDRINUSE' ? 'it is taken: name another --port' : cause.message
      reject(new TraitscopeError('USAGE', `expected to listen on ${host}:${port}, but ${why}`, { cause }))
    }
    server.once('error', refuse)
    try {
      server.listen(port, host, resolve)
    } catch (error) {
      // A port that no machine has.
      refuse(error as Error)
    }
  })
}

class Handler {
  #streams = 0

  constructor(
    private readonly feed: RunFeed,
    private readonly options: ServeOptions,
    private readonly hosts: readonly string[],
  ) {}

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { token } = this.options
    const asked = request.url ?? '/'
    // Of an address that is none, such as `//`, nothing is known but that it is not here.
    const url = URL.canParse(asked, 'http://here') ? new URL(asked, 'http://here') : new URL('http://here/-')
    if (this.#takesToken(request, response, url)) return
    const refusal = refusalOf(request, { hosts: this.hosts, token })
    if (refusal) {
      // What follows is not read.
      response.setHeader('connection', 'close')
      return send(response, refusal.status, { error: 'refused', message: refusal.reason })
    }
    const route = `${request.method} ${url.pathname}`
    if (route === 'GET /' || /^GET \/run\/[\w.-]+$/.test(route)) return this.#page(response)
    switch (route) {
      case 'GET /health':
        return send(response, 200, { status: 'ok', version: packageVersion, runs: this.feed.runs.length })
      case 'GET /runs':
        return send(response, 200, { runs: this.feed.runs.map(shownRun) })
      case 'GET /metrics':
        return sendText(response, 'text/plain; version=0.0.4; charset=utf-8', metricsText(this.feed.runs))
      case 'GET /events':
        return this.#events(request, response, url)
      case 'GET /labels':
        return this.#labels(response, url)
      case 'POST /checkpoint':
        return this.#checkpoint(request, response)
      default:
        return send(response, 404, {
          error: 'unknown',
          message: `expected GET /, /runs, /events, /labels, /metrics or /health, or POST /checkpoint, found ${request.method} of another path`,
        })
    }
  }

  /** A browser that comes with the token in the address gets it as a cookie, and the address without it. */
  #takesToken(request: IncomingMessage, response: ServerResponse, url: URL): boolean {
    const { token } = this.options
    const given = url.searchParams.get('token')
    if (given === null || token === undefined || request.method !== 'GET' || !isEqual(given, token))
      return false
    if (refusalOf(request, { hosts: this.hosts }) !== undefined) return false
    url.searchParams.delete('token')
    const value = encodeURIComponent(token)
    response.writeHead(303, {
      'set-cookie': `${TOKEN_COOKIE}=${value}; HttpOnly; SameSite=Strict; Path=/`,
      location: url.pathname + url.search,
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
    })
    response.end()
    return true
  }

  #page(response: ServerResponse): void {
    const { page } = this.options
    if (page === undefined) {
      send(response, 404, { error: 'unknown', message: 'there is no page here: GET /runs' })
      return
    }
    response.setHeader('content-security-policy', page.policy)
    sendText(response, 'text/html; charset=utf-8', page.html)
  }

  async #events(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const id = url.searchParams.get('run') ?? undefined
    // A browser that comes back by itself asks as it did at first, and names the last message beside.
    const said = [url.searchParams.get('after'), request.headers['last-event-id']].filter(Boolean)
    const cursor = parseCursor(
      said.map((one) => (id !== undefined && /^\d+$/.test(String(one)) ? `${id}:${one}` : one)).join(','),
    )
    if (cursor === undefined) {
      return send(response, 400, {
        error: 'usage',
        message: 'expected a cursor id:seq,id:seq of the ids of the last events of each run',
      })
    }
    if (id !== undefined && this.feed.run(id) === undefined) {
      return send(response, 404, { error: 'unknown', message: 'expected an id that GET /runs lists' })
    }
    if (this.#streams >= MOST_STREAMS) {
      return send(response, 503, {
        error: 'busy',
        message: `${MOST_STREAMS} others are listening; try again later`,
      })
    }
    this.#streams++
    try {
      await streamEvents(this.feed, response, cursor, id === undefined ? undefined : new Set([id]))
    } finally {
      this.#streams--
    }
  }

  /** Of the run with this id; nothing where nobody has labelled it. */
  async #labels(response: ServerResponse, url: URL): Promise<void> {
    const run = this.feed.run(url.searchParams.get('run') ?? '')
    if (run === undefined) {
      return send(response, 404, { error: 'unknown', message: 'expected an id that GET /runs lists' })
    }
    send(response, 200, (await this.options.labels?.of(run.weights)) ?? { judged: [], answers: [] })
  }

  async #checkpoint(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) {
      return send(response, 415, { error: 'usage', message: 'expected content-type: application/json' })
    }
    const body = await bodyOf(request)
    if (body === undefined) {
      response.setHeader('connection', 'close')
      return send(response, 413, { error: 'usage', message: `expected at most ${LARGEST_BODY} bytes` })
    }
    const asked = parseCheckpointRequest(parsed(body))
    if (typeof asked === 'string') return send(response, 400, { error: 'usage', message: asked })
    const run = await runOfRequest(asked, this.feed.runs)
    if (run === undefined) {
      return send(response, 404, {
        error: 'unknown',
        message: 'expected the output_dir of a run that is watched; GET /runs lists them',
      })
    }
    if (asked.event === 'on_save') this.options.onPosted?.(run.run)
    await this.feed.look()
    send(response, 200, answerOf(asked, run))
  }
}

function shownRun(run: RunSummary) {
  const {
    id,
    run: folder,
    traits,
    measured,
    lost,
    errors,
    backlog,
    last,
    alarmSince,
    isWatched,
    lastEvent,
    seq,
  } = run
  return {
    ...{ id, run: folder, traits, measured, lost, errors, backlog, isWatched, seq },
    alarm: alarmSince !== undefined,
    lastEvent: lastEvent ?? null,
    last: last ?? null,
  }
}

/** Undefined where it is larger than it may be. */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > LARGEST_BODY) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
} as const

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { ...HEADERS, 'content-type': 'application/json; charset=utf-8' })
  response.end(`${JSON.stringify(body)}\n`)
}

function sendText(response: ServerResponse, type: string, text: string): void {
  response.writeHead(200, { ...HEADERS, 'content-type': type })
  response.end(text)
}
