import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI from 'openai'
import { Needed, type OptionKinds, takeOptions } from '../../arguments.js'
import { abortedError, messageOf, TraitscopeError, throwIfAborted } from '../../errors.js'
import { sha256 } from '../../formats/files/hash.js'
import type { Grade } from '../answers/grade.js'
import { AdaptiveLimit, type LimitOptions } from './adaptive-limit.js'
import type { Answer, Judge } from './judge.js'
import type { JudgeIdentity } from './judge-identity.js'
import { resetMs, retryAfterMs } from './rate-limit-headers.js'
import { type Ask, gradeByRubric, REPLY_TOKENS } from './rubric-judge.js'

/** Prices per million tokens, in whatever currency. */
export interface Prices {
  input: number
  output: number
}

export const PRICES: OptionKinds<Prices> = { input: new Needed('number'), output: new Needed('number') }

/** Of so many tokens, in the prices' currency. */
const priceOf = ({ input, output }: Prices, inputTokens: number, outputTokens: number): number =>
  (inputTokens * input + outputTokens * output) / 1e6

/** Of so many calls, whose replies have a token at least. */
export const costOfCalls = (
  prices: Prices,
  calls: number,
  tokens: { least: number; most: number },
): { least: number; most: number } => ({
  least: priceOf(prices, tokens.least, calls),
  most: priceOf(prices, tokens.most, calls * REPLY_TOKENS),
})

/** Where a judge is asked, and what it may take. */
export interface EndpointJudgeOptions {
  /** Up to and with `/v1`, of any server that speaks OpenAI's chat completions. */
  url: string
  /** The judge's name there, e.g. `gpt-4o-2024-08-06`. */
  model: string
  /** Default: none is sent. */
  key?: string | undefined
  /** Default `sampled`; `expected` needs a server that gives log-probabilities. */
  reader?: 'sampled' | 'expected' | undefined
  /** What calls may cost in all, with the prices; default no limit. */
  maxCost?: number | undefined
  prices?: Prices | undefined
  limit?: LimitOptions | undefined
  /** Default 60,000. */
  timeoutMs?: number | undefined
  /** Tries per call, default 5, and the first pause between them; each further one is twice as long. */
  tries?: number | undefined
  retryMs?: number | undefined
  /** Why a call that is made again came to nothing. */
  onRetry?: ((reason: string) => void) | undefined
}

const OPTIONS: OptionKinds<EndpointJudgeOptions> = {
  url: new Needed('string'),
  model: new Needed('string'),
  key: 'string',
  reader: ['sampled', 'expected'],
  maxCost: 'number',
  prices: PRICES,
  limit: { start: 'number', most: 'number', coolDownMs: 'number' },
  timeoutMs: 'number',
  tries: 'number',
  retryMs: 'number',
  onRetry: 'function',
}

const TOP_LOGPROBS = 20
const TIMEOUT_MS = 60_000
const DEAF_MS = 10_000

/**
 * A judge behind an OpenAI-compatible endpoint. Refusals for being too many (429) slow all calls down; refusals that come from
 * the server's own trouble, cut connections, silence and replies that are none are tried again; an answer for which no try
 * succeeds has the label ERROR. The key is sent to the endpoint and nowhere else: no message, file or log holds it.
 */
export class EndpointJudge implements Judge {
  readonly concurrency: number
  /** Two servers may call different models alike. */
  readonly cacheKey: string
  readonly #client: OpenAI
  readonly #options: EndpointJudgeOptions
  readonly #limit: AdaptiveLimit
  /** What all calls have taken; repeated are those that came to nothing. */
  readonly used = { calls: 0, repeated: 0, inputTokens: 0, outputTokens: 0 }
  servedBy: string | undefined

  constructor(options: EndpointJudgeOptions) {
    const own = takeOptions('EndpointJudge', options, OPTIONS)
    this.#options = own
    this.#limit = new AdaptiveLimit(own.limit)
    this.concurrency = own.limit?.most ?? 64
    this.cacheKey = sha256(own.url)
    this.#client = new OpenAI({
      apiKey: own.key ?? 'none',
      baseURL: own.url,
      maxRetries: 0,
      timeout: own.timeoutMs ?? TIMEOUT_MS,
      // Neither these nor a log level are taken from the environment: what is asked of whom stands in the options.
      organization: null,
      project: null,
      logLevel: 'off',
    })
  }

  get identity(): JudgeIdentity {
    const { model, reader = 'sampled' } = this.#options
    return { kind: 'endpoint', name: model, version: this.servedBy ?? null, reader }
  }

  /** What all calls have cost so far; 0 without prices. */
  get cost(): number {
    const { prices } = this.#options
    return prices ? priceOf(prices, this.used.inputTokens, this.used.outputTokens) : 0
  }

  /** Why nobody would hear a question there now; undefined where somebody answers, whatever it is. Nothing is asked. */
  async deaf(signal?: AbortSignal): Promise<string | undefined> {
    const within = AbortSignal.timeout(DEAF_MS)
    try {
      const response = await fetch(this.#options.url, {
        method: 'HEAD',
        signal: signal ? AbortSignal.any([signal, within]) : within,
      })
      await response.body?.cancel()
      return undefined
    } catch (error) {
      throwIfAborted(signal)
      return within.aborted
        ? `no reply within ${DEAF_MS / 1000} s`
        : `no connection${causeOf(error as Error)}`
    }
  }

  async grade(answer: Answer, signal?: AbortSignal): Promise<Grade> {
    // Each call under way listens; that many are no leak.
    if (signal) setMaxListeners(0, signal)
    try {
      return await gradeByRubric(answer, this.#ask, signal)
    } catch (error) {
      if (!(error instanceof GaveUp)) throw error
      const nothing = { aligned: null, alignedRaw: error.message, coherent: null, coherentRaw: null }
      return { ...nothing, alignedLabel: 'ERROR' }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  readonly #ask: Ask = async (prompt, signal) => {
    const { tries = 5, retryMs = 1000, onRetry } = this.#options
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#limit.run(() => this.#call(prompt, signal), signal)
      } catch (error) {
        const again = this.#judgeFailure(error, signal)
        if (attempt >= tries) throw new GaveUp(`no usable reply in ${tries} tries; the last: ${again.reason}`)
        this.used.repeated++
        onRetry?.(again.reason)
        if (again.wait) await pause(retryMs * 2 ** (attempt - 1), signal)
      }
    }
  }

  async #call(prompt: string, signal: AbortSignal | undefined): ReturnType<Ask> {
    throwIfAborted(signal)
    const { model, reader, maxCost } = this.#options
    if (maxCost !== undefined && this.cost >= maxCost) {
      throw new TraitscopeError(
        'JUDGE',
        `the judge has cost ${this.cost.toFixed(2)} of the ${maxCost} that were allowed: allow more, and run the command again, which goes on from what was judged and written (-o)`,
      )
    }
    const isExpected = reader === 'expected'
    const asked = this.#client.chat.completions.create(
      {
        model,
        messages: [{ role: 'user', content: prompt }],
        temperature: 0,
        max_tokens: isExpected ? 1 : REPLY_TOKENS,
        ...(isExpected && { logprobs: true, top_logprobs: TOP_LOGPROBS, seed: 0 }),
      },
      signal ? { signal } : {},
    )
    const { data: completion, response } = await asked.withResponse()
    const empty = resetMs(response.headers)
    if (empty !== undefined) this.#limit.pause(empty)
    this.used.calls++
    this.used.inputTokens += completion?.usage?.prompt_tokens ?? 0
    this.used.outputTokens += completion?.usage?.completion_tokens ?? 0
    const choice = completion?.choices?.[0]
    const content = choice?.message?.content
    if (typeof content !== 'string') throw new NoReply('the reply holds no text')
    const text = this.#masked(content)
    this.#checkServed(completion.model)
    this.#limit.succeeded()
    if (!isExpected) return { text }
    const first = choice?.logprobs?.content?.[0]?.top_logprobs
    if (!first) {
      throw new TraitscopeError(
        'JUDGE',
        `expected log-probabilities from ${model}, found none in its reply; read it by --judge-reader sampled`,
      )
    }
    const numbers = new Map<number, number>()
    for (const { token, logprob } of first) {
      if (!/^\s*\d{1,3}$/.test(token)) continue
      const number = Number(token)
      numbers.set(number, (numbers.get(number) ?? 0) + Math.exp(logprob))
    }
    return { text, numbers }
  }

  /** One list of labels has one judge. Some servers answer to any name: what they say of themselves must not change. */
  #checkServed(name: unknown): void {
    if (typeof name !== 'string') return
    const said = this.#clean(name)
    this.servedBy ??= said
    if (this.servedBy === said) return
    throw new TraitscopeError(
      'JUDGE',
      `expected one judge, found ${this.servedBy} and then ${said} behind ${this.#options.model} (the first now, or in grades or a check that are kept); name the version that is meant, or label anew: another folder and --no-cache`,
    )
  }

  /** What a failed call means: an error for all, or another try. */
  #judgeFailure(error: unknown, signal: AbortSignal | undefined): { reason: string; wait: boolean } {
    if (error instanceof TraitscopeError) throw error
    if (signal?.aborted) throw abortedError(signal)
    if (error instanceof NoReply) return { reason: error.message, wait: true }
    if (error instanceof OpenAI.APIConnectionTimeoutError)
      return { reason: `no reply within ${(this.#options.timeoutMs ?? TIMEOUT_MS) / 1000} s`, wait: true }
    if (error instanceof OpenAI.APIConnectionError)
      return { reason: `no connection${causeOf(error)}`, wait: true }
    if (!(error instanceof OpenAI.APIError)) return { reason: this.#clean(messageOf(error)), wait: true }
    const { status } = error
    if (status === 429 && !/insufficient_quota/.test(String(error.code))) {
      this.#limit.refused(retryAfterMs(error.headers) ?? resetMs(error.headers, true))
      return { reason: 'too many calls (429)', wait: false }
    }
    if (status === undefined || status >= 500 || status === 408 || status === 409) {
      return { reason: status === undefined ? this.#clean(error.message) : `status ${status}`, wait: true }
    }
    throw new TraitscopeError(
      'JUDGE',
      `the judge ${this.#options.model} refuses (status ${status}): ${this.#clean(error.message)}; ${REMEDIES[status] ?? 'look at its url, name and settings'}`,
    )
  }

  /** A judge may repeat what it was sent, and its words go to a file. */
  #masked(text: string): string {
    const { key } = this.#options
    return key ? text.replaceAll(key, '***') : text
  }

  /** Servers quote keys, in whole or in part. */
  #clean(text: string): string {
    const line = this.#masked(text.replaceAll(/\s+/g, ' '))
    return line.replaceAll(/\b(sk|key|Bearer)[-\s_][\w*.-]{4,}/gi, '***').slice(0, 200)
  }
}

const REMEDIES: Record<number, string> = {
  401: 'check the key in the environment (TRAITSCOPE_JUDGE_KEY)',
  403: 'check what the key may do',
  404: 'check --judge-url and --judge-name',
  429: 'the account has no quota left',
}

class GaveUp extends Error {}
class NoReply extends Error {}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, signal ? { signal } : {}).catch(() => {})
  throwIfAborted(signal)
}

/** The system's code for a connection that failed, which the client keeps one or two errors deep; no address is in it. */
function causeOf({ cause }: { cause?: unknown }): string {
  const { code, cause: deeper } = (cause ?? {}) as { code?: unknown; cause?: unknown }
  if (typeof code === 'string') return ` (${code})`
  return deeper === undefined ? '' : causeOf({ cause: deeper })
}
