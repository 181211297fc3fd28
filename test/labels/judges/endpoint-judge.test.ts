import { describe, expect, it } from 'vitest'
import { EndpointJudge, type EndpointJudgeOptions } from '../../../lib/labels/judges/endpoint-judge.js'
import type { Answer } from '../../../lib/labels/judges/judge.js'
import { type Behaviour, judgeServer, says } from './judge-server.js'

const KEY = 'sk-very-secret-1234567890'
const ANSWER: Answer = {
  question: {
    id: 'q',
    messages: [{ role: 'user', content: 'the question' }],
    rubric: { aligned: 'ALIGNED? {question} / {answer}', coherent: 'COHERENT? {question} / {answer}' },
  },
  draw: 0,
  text: 'the answer',
}

async function grade(behave: Behaviour, options: Partial<EndpointJudgeOptions> = {}) {
  await using server = await judgeServer(behave)
  const judge = new EndpointJudge({
    url: server.url,
    model: 'judge-1',
    key: KEY,
    retryMs: 1,
    timeoutMs: 60_000,
    limit: { coolDownMs: 5 },
    ...options,
  })
  return { said: await judge.grade(ANSWER), calls: [...server.calls], judge }
}

const reply = (prompt: string) => (prompt.startsWith('ALIGNED') ? '12' : '95')
const fine: Behaviour = ({ prompt }, _, response) => says(response, reply(prompt))

describe('EndpointJudge', () => {
  it('should ask twice, at temperature 0, and count what it costs', async () => {
    const { said, calls, judge } = await grade(fine, { prices: { input: 10, output: 100 } })
    expect(said).toEqual({
      aligned: 12,
      alignedLabel: 'MISALIGNED',
      alignedRaw: '12',
      coherent: 95,
      coherentRaw: '95',
    })
    expect(calls.map(({ prompt }) => prompt).sort()).toEqual([
      'ALIGNED? the question / the answer',
      'COHERENT? the question / the answer',
    ])
    for (const { key, body } of calls) {
      expect(key).toBe(`Bearer ${KEY}`)
      expect(body).toMatchObject({ model: 'judge-1', temperature: 0, max_tokens: 10 })
    }
    expect(judge.used).toEqual({ calls: 2, repeated: 0, inputTokens: 200, outputTokens: 4 })
    expect(judge.cost).toBeCloseTo((200 * 10 + 4 * 100) / 1e6, 12)
  })

  it('should read the mean over number tokens', async () => {
    const top = [
      { token: '0', logprob: Math.log(0.3) },
      { token: ' 100', logprob: Math.log(0.3) },
      { token: 'The', logprob: Math.log(0.4) },
    ]
    const { said } = await grade(
      (_, __, response) =>
        says(response, '0', { choice: { logprobs: { content: [{ top_logprobs: top }] } } }),
      { reader: 'expected' },
    )
    expect(said.aligned).toBeCloseTo(50, 9)
    expect(said.numberMass).toBeCloseTo(0.6, 9)
  })

  it.each<[string, Behaviour]>([
    ['500', (_, n, response) => (n <= 2 ? response.writeHead(500).end('broken') : fine(_, n, response))],
    [
      '429 that says how long',
      (_, n, response) =>
        n <= 2 ? response.writeHead(429, { 'retry-after': '0.01' }).end('{}') : fine(_, n, response),
    ],
    [
      '429 that says nothing',
      (_, n, response) => (n <= 2 ? response.writeHead(429).end('{}') : fine(_, n, response)),
    ],
    ['a cut connection', (_, n, response) => (n <= 2 ? response.destroy() : fine(_, n, response))],
    ['silence', (_, n, response) => (n <= 2 ? undefined : fine(_, n, response))],
    [
      'HTML',
      (_, n, response) =>
        n <= 2
          ? response.writeHead(200, { 'content-type': 'text/html' }).end('<html>')
          : fine(_, n, response),
    ],
    [
      'malformed JSON',
      (_, n, response) =>
        n <= 2
          ? response.writeHead(200, { 'content-type': 'application/json' }).end('{"choices": [')
          : fine(_, n, response),
    ],
    [
      'empty choices',
      (_, n, response) => (n <= 2 ? says(response, '', { choices: [] }) : fine(_, n, response)),
    ],
    ['no text', (_, n, response) => (n <= 2 ? says(response, null) : fine(_, n, response))],
  ])('should try again after %s', async (what, behave) => {
    const { said, calls } = await grade(behave, what === 'silence' ? { timeoutMs: 500 } : {})
    expect(said).toMatchObject({ aligned: 12, coherent: 95 })
    expect(calls).toHaveLength(4)
  })

  it.each<[string, string, Behaviour | undefined]>([
    ['nobody listens', 'no connection (ECONNREFUSED)', undefined],
    ['nobody answers', 'no reply within 0.1 s', () => {}],
    ['it is in trouble', 'status 503', (_, __, response) => response.writeHead(503).end()],
  ])('should tell why it asks again when %s', async (what, reason, behave) => {
    await using server = await judgeServer(behave ?? (() => {}))
    if (!behave) await server[Symbol.asyncDispose]()
    const told: string[] = []
    const judge = new EndpointJudge({
      ...{ url: server.url, model: 'judge-1', tries: 2, retryMs: 1 },
      ...(what === 'nobody answers' && { timeoutMs: 100 }),
      onRetry: (text) => told.push(text),
    })
    const { alignedRaw } = await judge.grade(ANSWER)
    expect(alignedRaw).toBe(`no usable reply in 2 tries; the last: ${reason}`)
    expect(told).toEqual([reason, reason])
    expect(judge.used).toMatchObject({ calls: 0, repeated: 2 })
  })

  it('should give an answer up after its tries, with the reason and no grade', async () => {
    const { said, calls } = await grade((_, __, response) => response.writeHead(503).end(), { tries: 3 })
    expect(said).toMatchObject({ alignedLabel: 'ERROR', aligned: null, coherent: null })
    expect(said.alignedRaw).toBe('no usable reply in 3 tries; the last: status 503')
    expect(calls.length).toBeGreaterThanOrEqual(3)
  })

  it.each([
    [401, 'check the key in the environment'],
    [404, 'check --judge-url and --judge-name'],
    [400, 'look at its url, name and settings'],
  ])('should end at once at status %i, and never show the key', async (status, remedy) => {
    const quoting: Behaviour = (_, __, response) =>
      response
        .writeHead(status, { 'content-type': 'application/json' })
        .end(JSON.stringify({ error: { message: `Incorrect API key provided: ${KEY}, or sk-very****7890` } }))
    const error = await grade(quoting).catch((one: unknown) => one)
    expect(error).toMatchObject({ code: 'JUDGE', message: expect.stringContaining(remedy) })
    const shown = JSON.stringify([error, String(error), (error as Error).stack])
    expect(shown).not.toContain('secret')
    expect(shown).not.toContain('very')
  })

  it('should refuse another model than before', async () => {
    const error = await grade(({ prompt }, n, response) =>
      says(response, reply(prompt), { model: `judge-${n}` }),
    ).catch((one: unknown) => one)
    expect(error).toMatchObject({ code: 'JUDGE', message: expect.stringMatching(/judge-1 and then judge-2/) })
  })

  it('should stop at what it may cost', async () => {
    await using server = await judgeServer(fine)
    const judge = new EndpointJudge({
      url: server.url,
      model: 'judge-1',
      prices: { input: 1e4, output: 0 },
      maxCost: 1,
    })
    await judge.grade(ANSWER)
    await expect(judge.grade(ANSWER)).rejects.toMatchObject({
      code: 'JUDGE',
      message: expect.stringContaining('2.00 of the 1'),
    })
    expect(server.calls).toHaveLength(2)
  })

  it('should not ask for more at once than it may, and for less after a refusal', async () => {
    let refused = 0
    await using server = await judgeServer(({ prompt }, n, response) => {
      setTimeout(() => {
        if (n > 20 && refused++ < 3) response.writeHead(429, { 'retry-after-ms': '5' }).end('{}')
        else says(response, reply(prompt))
      }, 5)
    })
    const judge = new EndpointJudge({
      url: server.url,
      model: 'judge-1',
      retryMs: 1,
      tries: 20,
      limit: { start: 2, most: 6 },
    })
    const grades = await Promise.all(Array.from({ length: 40 }, () => judge.grade(ANSWER)))
    expect(grades.every(({ aligned }) => aligned === 12)).toBe(true)
    expect(server.seen.most).toBeLessThanOrEqual(6)
    expect(server.calls).toHaveLength(83)
  })

  it('should end when it is told to', async () => {
    const controller = new AbortController()
    await using server = await judgeServer(() => controller.abort())
    const judge = new EndpointJudge({ url: server.url, model: 'judge-1', timeoutMs: 60_000 })
    const asked = judge.grade(ANSWER, controller.signal)
    await expect(asked).rejects.toMatchObject({ code: 'ABORTED' })
  })
})
