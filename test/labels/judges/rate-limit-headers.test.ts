import { describe, expect, it } from 'vitest'
import { EndpointJudge } from '../../../lib/labels/judges/endpoint-judge.js'
import { resetMs, retryAfterMs } from '../../../lib/labels/judges/rate-limit-headers.js'
import { judgeServer, says } from './judge-server.js'

const of = (headers: Record<string, string>) => new Headers(headers)

describe('retryAfterMs()', () => {
  it.each([
    [{ 'retry-after-ms': '250' }, 250],
    [{ 'retry-after': '1.5' }, 1500],
    [{ 'retry-after': new Date(Date.now() - 5000).toUTCString() }, 0],
    [{ 'retry-after': '1e9' }, 600_000],
    [{ 'retry-after': 'soon' }, undefined],
    [{}, undefined],
  ])('should read %j', (headers, expected) => {
    expect(retryAfterMs(of(headers as Record<string, string>))).toBe(expected)
  })
})

describe('resetMs()', () => {
  const left = (remaining: string, reset: string) => ({
    'x-ratelimit-remaining-requests': remaining,
    'x-ratelimit-reset-requests': reset,
  })
  it.each([
    [left('0', '6m0s'), 360_000],
    [left('0', '250ms'), 250],
    [left('0', '1m2.5s'), 62_500],
    [left('0', '12'), 12_000],
    [left('0', '2026-11-29T12:00:00Z'), undefined],
    [left('3', '6m0s'), undefined],
    [{ ...left('3', '9s'), 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': '2s' }, 2000],
    [{ ...left('0', '9s'), 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': '2s' }, 9000],
    [{ 'ratelimit-remaining': '0', 'ratelimit-reset': '3' }, 3000],
    [{ 'x-ratelimit-reset-requests': '3s' }, undefined],
  ])('should read %j', (headers, expected) => {
    expect(resetMs(of(headers as Record<string, string>))).toBe(expected)
  })

  it('should take a refusal for nothing remaining where that is not said', () => {
    expect(resetMs(of({ 'x-ratelimit-reset-requests': '3s' }), true)).toBe(3000)
  })
})

describe('EndpointJudge', () => {
  it('should not ask while the server says that nothing is left, and be refused by no call', async () => {
    const times: number[] = []
    await using server = await judgeServer((_, n, response) => {
      times.push(Date.now())
      if (n === 2) {
        response.setHeader('x-ratelimit-remaining-requests', '0')
        response.setHeader('x-ratelimit-reset-requests', '400ms')
      }
      says(response, '50')
    })
    const judge = new EndpointJudge({ url: server.url, model: 'judge-1', limit: { start: 1, most: 1 } })
    const question = { id: 'q', messages: [{ role: 'user' as const, content: 'q' }] }
    const rubric = { aligned: '{answer}', coherent: '{answer}' }
    for (const draw of [0, 1]) await judge.grade({ question: { ...question, rubric }, draw, text: 'a' })
    expect(times).toHaveLength(4)
    expect(times[2]! - times[1]!).toBeGreaterThan(390)
  })
})
