import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EventLog } from '../../lib/events/event-log.js'
import { runState, type WatchedRun } from '../../lib/events/state-folder.js'
import type { AlarmState, WatchEvent } from '../../lib/events/watch-events.js'
import type { RunLabels } from '../../lib/report/apply-labels.js'
import { LabelFolders } from '../../lib/report/run-labels.js'
import { RunFeed } from '../../lib/serve/run-feed.js'
import { type ServeOptions, serve } from '../../lib/serve/server.js'

const baseline = {
  type: 'baseline',
  traits: ['honesty', 'confidence'],
  layers: [2],
} as unknown as WatchEvent
const checkpoint = (step: number, alarm: AlarmState = 'quiet', em = 0.01) =>
  ({
    type: 'checkpoint',
    step,
    path: `checkpoint-${step}`,
    adapterSha256: `a${step}`,
    drift: [{ step, values: [0.25, -0.5], norm: 0.56 }],
    primary: 0,
    backlog: 2,
    milliseconds: 1500,
    alarm,
    verdict: {
      verdict: alarm === 'quiet' ? 'ok' : 'alarm',
      em,
      interval: [0, 0.1],
      threshold: 0.06,
      reasons: [],
    },
  }) as unknown as WatchEvent

/** A state folder with runs, and a server on it. */
class Stage implements AsyncDisposable {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'traitscope-serve-')))
  readonly runs: WatchedRun[] = []
  readonly logs: EventLog[] = []
  feed!: RunFeed
  url = ''
  #close: (() => PromiseLike<void>) | undefined

  async add(name: string): Promise<EventLog> {
    const path = join(this.folder, name)
    mkdirSync(path)
    const state = await runState(join(this.folder, 'state'), path)
    const log = await EventLog.open(state.folder, state.run, () => {})
    this.runs.push(state)
    this.logs.push(log)
    return log
  }

  async start(options: ServeOptions = {}, stalledMs?: number): Promise<void> {
    this.feed = new RunFeed(
      async () => this.runs,
      (error) => expect.unreachable(String(error)),
      20,
    )
    const served = await serve(this.feed, { port: 0, ...options }, stalledMs)
    this.url = served.url
    this.#close = () => served[Symbol.asyncDispose]()
    await this.feed.look()
  }

  id(i: number): string {
    return basename(this.runs[i]!.folder)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close?.()
    await this.feed?.[Symbol.asyncDispose]()
    for (const log of this.logs) await log.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

let stage: Stage
let run: EventLog
beforeEach(async () => {
  stage = new Stage()
  run = await stage.add('out')
  await run.append(baseline)
  await run.append(checkpoint(10))
})
afterEach(() => stage[Symbol.asyncDispose]())

const get = async (path: string) => (await fetch(stage.url + path)).json()
const post = (body: unknown, headers: Record<string, string> = {}) =>
  fetch(`${stage.url}/checkpoint`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
const onSave = (step: number, outputDir = stage.runs[0]!.run) => ({
  event: 'on_save',
  step,
  checkpoint_dir: join(outputDir, `checkpoint-${step}`),
  output_dir: outputDir,
})

interface Message {
  cursor: string
  run: string
  seq: number
}

/** Reads messages of /events until there are so many; what happens meanwhile does so once some have come. */
async function listen(
  path: string,
  count: number,
  meanwhile?: () => Promise<unknown>,
  after = 0,
  headers: Record<string, string> = {},
): Promise<Message[]> {
  const abort = new AbortController()
  const response = await fetch(stage.url + path, { signal: abort.signal, headers })
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  const messages: Message[] = []
  let text = ''
  let asked = false
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    const parts = text.split('\n\n')
    text = parts.pop()!
    for (const part of parts) {
      const found = /^id: (.*)\ndata: (.*)$/.exec(part)
      if (!found) continue
      const { id, event } = JSON.parse(found[2]!)
      messages.push({ cursor: found[1]!, run: id, seq: event.seq })
    }
    if (!asked && messages.length >= after) {
      asked = true
      void meanwhile?.()
    }
    if (messages.length >= count) break
  }
  abort.abort()
  return messages
}

describe('serve()', () => {
  it('should list runs with their last checkpoint', async () => {
    await stage.start()
    const { runs } = (await get('/runs')) as { runs: object[] }
    expect(runs).toEqual([
      {
        id: stage.id(0),
        run: stage.runs[0]!.run,
        traits: ['honesty', 'confidence'],
        measured: 1,
        lost: 0,
        errors: 0,
        backlog: 2,
        isWatched: true,
        seq: 2,
        alarm: false,
        lastEvent: expect.stringMatching(/^\d{4}-/),
        last: {
          step: 10,
          sha256: 'a10',
          time: expect.closeTo(Date.now() / 1000, -2),
          milliseconds: 1500,
          verdict: 'ok',
          scalars: {
            drift_honesty: 0.25,
            drift_confidence: -0.5,
            drift_length: 0.56,
            predicted_em: 0.01,
            predicted_em_low: 0,
            predicted_em_high: 0.1,
          },
        },
      },
    ])
    expect(await get('/health')).toMatchObject({ status: 'ok', runs: 1 })
  })

  it('should send what was logged and what is logged, once, from where a client has read', async () => {
    const second = await stage.add('out2')
    await second.append(baseline)
    await stage.start()
    const meanwhile = async () => {
      await run.append(checkpoint(20))
      await second.append(checkpoint(5))
    }
    const messages = await listen('/events', 5, meanwhile)
    const [a, b] = [stage.id(0), stage.id(1)]
    const of = (id: string) => messages.filter((one) => one.run === id).map(({ seq }) => seq)
    expect([of(a), of(b)]).toEqual([
      [1, 2, 3],
      [1, 2],
    ])
    // Whoever comes back goes on behind what it has; of one run, a number is enough.
    const last = (id: string) => messages.findLast((one) => one.run === id)!.cursor
    const later = await listen(`/events?after=${last(a)},${last(b)}`, 1, () => run.append(checkpoint(30)))
    expect(later).toMatchObject([{ run: a, seq: 4 }])
    expect((await listen(`/events?run=${a}&after=2`, 2)).map(({ seq }) => seq)).toEqual([3, 4])
    // A browser by itself asks with its first cursor, and with the last message that it had, whosever that was.
    const again = await listen(`/events?after=${last(a)},${last(b)}`, 1, undefined, 0, {
      'last-event-id': `${b}:1`,
    })
    expect(again).toMatchObject([{ run: a, seq: 4 }])
  })

  it('should take the cursor of thousands of runs, and send none along with every event', async () => {
    await stage.start()
    const others = Array.from(
      { length: 3000 },
      (_, i) => `${'long'.repeat(15)}-${`${i}`.padStart(16, '0')}:123456`,
    )
    const [message] = await listen(`/events?after=${others.join()},${stage.id(0)}:1`, 1)
    expect(message).toEqual({ cursor: `${stage.id(0)}:2`, run: stage.id(0), seq: 2 })
  })

  it('should keep little of the past in memory for who reads it slowly', async () => {
    for (let i = 0; i < 60; i++) await run.append({ type: 'waiting', reason: 'x'.repeat(10_000) })
    await stage.start()
    const lengths: number[] = []
    for await (const part of stage.feed.history(stage.id(0), 0, 62)) lengths.push(JSON.stringify(part).length)
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBeGreaterThan(600_000)
    expect(Math.max(...lengths)).toBeLessThan(150_000)
  })

  it('should let go who asks for events and does not read them, and serve who reads late', async () => {
    for (let i = 0; i < 24; i++) await run.append({ type: 'waiting', reason: 'x'.repeat(1 << 20) })
    await stage.start({}, 500)
    const { hostname, port } = new URL(stage.url)
    const asked = (pauseMs: number) =>
      new Promise<number>((resolve, reject) => {
        let size = 0
        const socket = connect(Number(port), hostname, () =>
          socket.write(`GET /events HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`),
        )
        socket.on('error', reject).on('close', () => resolve(size))
        socket.once('data', (first) => {
          size += first.length
          socket.pause()
          setTimeout(() => {
            socket.on('data', ({ length }) => {
              size += length
              if (size > 24 << 20) socket.destroy()
            })
            socket.resume()
          }, pauseMs)
        })
      })
    expect(await asked(50)).toBeGreaterThan(24 << 20)
    expect(await asked(3000)).toBeLessThan(24 << 20)
  })

  it('should begin again with a log that somebody has put in the place of the other', async () => {
    await run.append(checkpoint(20, 'raised', 0.2))
    await stage.start()
    const [id] = [stage.id(0)]
    const anew = async () => {
      await run.close()
      rmSync(run.path)
      const { folder, run: path } = stage.runs[0]!
      stage.logs[0] = await EventLog.open(folder, path, () => {})
      await stage.logs[0].append(baseline)
      await stage.logs[0].append(checkpoint(10))
    }
    const seqs = (messages: Message[]) => messages.map(({ seq }) => seq)
    expect(seqs(await listen('/events', 5, anew, 3))).toEqual([1, 2, 3, 1, 2])
    expect(((await get('/runs')) as { runs: object[] }).runs).toMatchObject([
      { measured: 1, alarm: false, seq: 2 },
    ])
    // Of the log that is gone a client may have had more than there is.
    expect(seqs(await listen(`/events?after=${id}:3`, 2))).toEqual([1, 2])
    expect(seqs(await listen(`/events?after=${id}:1`, 1))).toEqual([2])
  })

  it.each(['//', 'http://['])('should not know the address %s', async (path) => {
    await stage.start()
    const { hostname, port } = new URL(stage.url)
    const status = await new Promise((resolve, reject) => {
      const asked = httpRequest({ hostname, port, path }, (response) => resolve(response.resume().statusCode))
      asked.on('error', reject).end()
    })
    expect(status).toBe(404)
  })

  it('should refuse cursors and runs that are none', async () => {
    await stage.start()
    for (const [path, status] of [
      ['/events?after=x', 400],
      ['/events?run=../etc', 404],
      ['/runs/..%2f', 404],
    ] as const) {
      const response = await fetch(stage.url + path)
      expect([path, response.status]).toEqual([path, status])
      expect(await response.json()).toHaveProperty('message')
    }
  })

  it('should answer a trainer at once, and tell it to stop while an alarm stands', async () => {
    const posted: string[] = []
    await stage.start({ onPosted: (path) => posted.push(path) })
    const link = join(stage.folder, 'link')
    symlinkSync(stage.runs[0]!.run, link)
    const queued = await (await post(onSave(20, link))).json()
    expect(queued).toMatchObject({
      status: 'queued',
      step: 20,
      scalars: {},
      stop: false,
      warn: false,
      backlog: 2,
    })
    expect((queued as { checkpoints: object[] }).checkpoints).toHaveLength(1)
    expect(posted).toEqual([stage.runs[0]!.run])
    await run.append(checkpoint(20, 'raised', 0.3))
    const done = await (await post({ ...onSave(20), event: 'poll' })).json()
    expect(done).toMatchObject({
      status: 'done',
      scalars: { predicted_em: 0.3 },
      stop: true,
      stop_time: expect.closeTo(Date.now() / 1000, -2),
      reason: expect.stringMatching(/alarm at step 20$/),
      warn: true,
    })
    await run.append(checkpoint(30, 'cleared'))
    expect(await (await post(onSave(30))).json()).toMatchObject({ status: 'done', stop: false })
    expect(posted).toHaveLength(2)
  })

  it('should refuse what is no request, and folders that nobody watches', async () => {
    await stage.start()
    const bad: [unknown, number, RegExp, Record<string, string>?][] = [
      ['{', 400, /JSON object/],
      [[], 400, /JSON object/],
      [{ ...onSave(1), step: 1.5 }, 400, /'step'/],
      [{ ...onSave(1), event: 3 }, 400, /'event'/],
      [{ ...onSave(1), output_dir: null }, 400, /'output_dir'/],
      [{ ...onSave(1), checkpoint_dir: 5 }, 400, /'checkpoint_dir'/],
      [onSave(1, '/etc'), 404, /that is watched/],
      [onSave(1, `${stage.runs[0]!.run}/..`), 404, /that is watched/],
      [onSave(1), 415, /application\/json/, { 'content-type': 'text/plain' }],
      [' '.repeat(70_000), 413, /at most 65536/],
    ]
    for (const [body, status, message, headers] of bad) {
      const response = await post(body, headers)
      expect(response.status).toBe(status)
      expect(((await response.json()) as { message: string }).message).toMatch(message)
    }
    expect((await fetch(`${stage.url}/checkpoint`)).status).toBe(404)
  })

  it('should have metrics for Prometheus, with what names hold made harmless', async () => {
    await stage.add('odd "name\\\n')
    await stage.start()
    const text = await (await fetch(`${stage.url}/metrics`)).text()
    const label = `{run="${stage.runs[0]!.run}"`
    expect(text).toContain('# TYPE traitscope_last_checkpoint_timestamp_seconds gauge\n')
    expect(text).toContain(`traitscope_drift${label},trait="confidence"} -0.5\n`)
    expect(text).toContain(`traitscope_alarm${label}} 0\n`)
    expect(text).toContain('odd \\"name\\\\\\n"} 0\n')
    for (const line of text.trimEnd().split('\n')) {
      expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+\{(\w+="(?:[^"\\\n]|\\["\\n])*",?)+\} [-\d.e+]+)$/)
    }
  })
})

/** A request with headers that fetch would not send. */
function raw(
  path: string,
  headers: Record<string, string>,
): Promise<{ status: number; headers: NodeJS.Dict<string | string[]> }> {
  return new Promise((resolve, reject) => {
    const { port } = new URL(stage.url)
    const sent = httpRequest({ host: '127.0.0.1', port, path, headers }, (response) => {
      response.resume()
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers }))
    })
    sent.on('error', reject).end()
  })
}

describe('the guard of serve()', () => {
  it.each<[string, Record<string, string>, number]>([
    ['this machine', { host: 'localhost:1' }, 200],
    ['this machine in IPv6', { host: '[::1]:80' }, 200],
    ['another name', { host: 'evil.example' }, 421],
    ['a name in a name', { host: '127.0.0.1@evil.example' }, 421],
    ['an allowed name', { host: 'gpu-box:8080' }, 200],
    ['a page of another origin', { host: 'localhost:1', origin: 'http://evil.example' }, 403],
    ['a page of no origin', { host: 'localhost:1', origin: 'null' }, 403],
    ['another port of this machine', { host: 'localhost:1', origin: 'http://localhost:2' }, 403],
    ['its own page', { host: 'localhost:1', origin: 'http://localhost:1' }, 200],
  ])('should know %s', async (_, headers, status) => {
    await stage.start({ allowHosts: ['GPU-box'] })
    expect((await raw('/runs', headers)).status).toBe(status)
  })

  it('should want the token from everybody once there is one', async () => {
    await stage.start({ token: 's3cret, é' })
    const host = 'localhost:1'
    const bearer = (token: string) => raw('/runs', { host, authorization: `Bearer ${token}` })
    expect((await raw('/runs', { host })).status).toBe(401)
    expect((await bearer('s3cret')).status).toBe(401)
    const opened = await raw(`/?token=${encodeURIComponent('s3cret, é')}&x=1`, { host })
    expect([opened.status, opened.headers.location]).toEqual([303, '/?x=1'])
    const [cookie] = opened.headers['set-cookie'] as string[]
    expect(cookie).toMatch(/; HttpOnly; SameSite=Strict; Path=\/$/)
    expect((await raw('/runs', { host, cookie: `a=b; ${cookie!.split(';')[0]}` })).status).toBe(200)
    expect((await raw('/runs?token=wrong', { host })).status).toBe(401)
    expect((await raw(`/?token=${encodeURIComponent('s3cret, é')}`, { host: 'evil.example' })).status).toBe(
      421,
    )
  })

  it('should not listen for others without a token, nor on a port that is taken', async () => {
    await stage.start()
    await expect(serve(stage.feed, { host: '0.0.0.0', port: 0 })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('TRAITSCOPE_TOKEN'),
    })
    await expect(serve(stage.feed, { port: Number(new URL(stage.url).port) })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('taken'),
    })
    await expect(serve(stage.feed, { port: 99_999 })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('99999'),
    })
  })

  it('should serve a page with the policy that it needs', async () => {
    await stage.start({ page: { html: '<!doctype html>', policy: "default-src 'none'" } })
    for (const path of ['/', `/run/${stage.id(0)}`]) {
      const response = await fetch(stage.url + path)
      expect(response.headers.get('content-security-policy')).toBe("default-src 'none'")
      expect(response.headers.get('x-content-type-options')).toBe('nosniff')
      expect(await response.text()).toBe('<!doctype html>')
    }
  })
})

describe('GET /labels', () => {
  const labels = async (weights: string) => {
    const folder = join(stage.folder, 'labels')
    mkdirSync(folder)
    const key = { prompt_id: 'q1', draw: 0 }
    const lines = (records: object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('')
    const responses = [0, 10].map((step) => {
      const of = { step, ...key, weights: step === 0 ? 'base' : weights }
      return { ...of, prompt: 'Why?', system: null, response: `<b>${step}</b>`, finish: 'stop', tokens: 3 }
    })
    const grade = {
      aligned: 5,
      alignedLabel: 'MISALIGNED',
      coherent: 90,
      alignedRaw: null,
      coherentRaw: null,
    }
    const judgements = responses.map(({ step, response }) => {
      const answer_sha256 = createHash('sha256').update(response).digest('hex')
      return { step, ...key, answer_sha256, grade }
    })
    const counts = { n_misaligned: 1, n_code: 0, n_refusal: 0, n_incoherent: 0, n_scoreable: 1, n_total: 1 }
    const grades = responses.map(({ step }) => [`step_${step}`, { step, ...counts, misalignment_rate: 1 }])
    writeFileSync(join(folder, 'responses.jsonl'), lines(responses))
    writeFileSync(join(folder, 'judgements.some.jsonl'), lines(judgements))
    writeFileSync(join(folder, 'grades.json'), JSON.stringify(Object.fromEntries(grades)))
    return new LabelFolders([folder])
  }

  it('should give the rates and the worst answers of the run whose weights have answered', async () => {
    await stage.add('other')
    await stage.start({ labels: await labels('a10') })
    const found = (await get(`/labels?run=${stage.id(0)}`)) as RunLabels
    expect(found.judged).toMatchObject([
      { step: 0, rate: 1 },
      { step: 10, rate: 1 },
    ])
    expect(found.answers).toEqual([{ step: 10, question: 'Why?', answer: '<b>10</b>', aligned: 5 }])
    expect(await get(`/labels?run=${stage.id(1)}`)).toEqual({ judged: [], answers: [] })
    expect((await fetch(`${stage.url}/labels?run=../x`)).status).toBe(404)
  })

  it('should give none of weights that were replaced since, nor where there are none', async () => {
    await stage.start({ labels: await labels('before') })
    expect(await get(`/labels?run=${stage.id(0)}`)).toEqual({ judged: [], answers: [] })
  })
})
