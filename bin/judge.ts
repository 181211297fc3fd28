/** The judge that flags name. */
import type { Command } from 'commander'
import { TraitscopeError } from '../lib/errors.js'
import { EndpointJudge, type Prices } from '../lib/labels/judges/endpoint-judge.js'
import { openFittedJudge } from '../lib/labels/judges/fitted-judge.js'
import { ggufJudge } from '../lib/labels/judges/gguf-judge.js'
import type { Judge } from '../lib/labels/judges/judge.js'
import { openModuleJudge } from '../lib/labels/judges/module-judge.js'
import { openReplayJudge } from '../lib/labels/judges/replay-judge.js'
import { openModel } from '../lib/model/model.js'
import { ChatTemplate } from '../lib/prompts/chat-template.js'
import { integer, number, option, underHeading } from './options.js'
import type { Output } from './output.js'

export interface JudgeFlags {
  judgeUrl?: string
  judgeName?: string
  judgeGguf?: string
  judgeModule?: string
  judgeReplay?: string
  /** Folder of a fitted judge. */
  judge?: string
  judgeReader?: 'sampled' | 'expected' | 'constrained'
  judgeCalls?: number
  priceIn?: number
  priceOut?: number
  maxCost?: number
  /** Of the monitored model, and so of one that judges here. */
  threads?: number
}

export function addJudgeOptions(command: Command): Command {
  return underHeading(command, 'Judge:', () =>
    command
      .addOption(
        option('--judge-url <url>', 'judge behind an OpenAI-compatible endpoint, up to and with /v1'),
      )
      .addOption(
        option('--judge-name <model>', "the judge's name there; its key comes from TRAITSCOPE_JUDGE_KEY"),
      )
      .addOption(option('--judge-gguf <file>', 'a language model on this machine as the judge'))
      .addOption(
        option('--judge <dir>', 'a judge that --fit-judge made (--judge-gguf: where its model is now)'),
      )
      .addOption(option('--judge-module <file>', 'a JavaScript module that exports a function grade'))
      .addOption(option('--judge-replay <file>', 'judgements that label wrote before'))
      .addOption(
        option(
          '--judge-reader <how>',
          'number that it writes, mean over its probabilities of numbers, or the same as if it could say nothing else, of a GGUF (default: sampled behind a url, expected of a GGUF)',
        ).choices(['sampled', 'expected', 'constrained']),
      )
      .addOption(
        option('--judge-calls <n>', 'calls at once at most, behind a url (default: 64)').argParser(integer),
      )
      .addOption(option('--price-in <x>', "the judge's price per million tokens read").argParser(number))
      .addOption(option('--price-out <x>', 'and per million tokens written').argParser(number))
      .addOption(
        option(
          '--max-cost <x>',
          'stop when the judge has cost this much in this run of the command',
        ).argParser(number),
      ),
  )
}

export function pricesFromFlags({ priceIn, priceOut, maxCost }: JudgeFlags): Prices | undefined {
  if ((priceIn === undefined) !== (priceOut === undefined)) {
    throw new TraitscopeError('USAGE', 'expected --price-in and --price-out together, found one of them')
  }
  if (priceIn !== undefined && priceOut !== undefined) return { input: priceIn, output: priceOut }
  if (maxCost !== undefined) {
    throw new TraitscopeError('USAGE', '--max-cost needs the prices: add --price-in and --price-out')
  }
  return undefined
}

/** Flags of another kind of judge: they may stand in the environment for other commands, so they are no error. */
function idleFlags({ judgeUrl, judgeGguf, judge, ...flags }: JudgeFlags): string[] {
  const ofUrl = ['judgeName', 'judgeCalls', 'priceIn', 'priceOut', 'maxCost'] as const
  const isAsked = judgeUrl !== undefined || (judgeGguf !== undefined && judge === undefined)
  return [
    ...(judgeUrl === undefined ? ofUrl.filter((name) => flags[name] !== undefined) : []),
    ...(isAsked || flags.judgeReader === undefined ? [] : ['judgeReader']),
  ].map((name) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`)
}

/** @throws USAGE unless exactly one judge is named */
export function requireOneJudge({ judge, judgeUrl, judgeGguf, judgeModule, judgeReplay }: JudgeFlags): void {
  const named = [judgeUrl, judge ?? judgeGguf, judgeModule, judgeReplay].filter((one) => one !== undefined)
  if (named.length === 1) return
  throw new TraitscopeError(
    'USAGE',
    `expected one judge, by --judge-url, --judge-gguf, --judge, --judge-module or --judge-replay, found ${named.length}`,
  )
}

/** @throws USAGE unless exactly one judge is named */
export async function judgeFromFlags(flags: JudgeFlags, output: Output, signal: AbortSignal): Promise<Judge> {
  const { judgeUrl, judgeName, judgeGguf, judgeModule, judgeReplay, judgeReader: reader } = flags
  requireOneJudge(flags)
  const prices = pricesFromFlags(flags)
  for (const flag of idleFlags(flags)) output.remark(`${flag} does nothing with this judge`)
  if (judgeModule !== undefined) return openModuleJudge(judgeModule)
  if (judgeReplay !== undefined) return openReplayJudge(judgeReplay)
  const { judge } = flags
  if (judge !== undefined) {
    return output.during(`loading the judge ${judge}`, (onProgress) =>
      openFittedJudge(judge, { gguf: judgeGguf, threads: flags.threads, signal, onProgress }),
    )
  }
  if (judgeGguf !== undefined) {
    const model = await output.during(`loading the judge ${judgeGguf}`, (onProgress) =>
      openModel(judgeGguf, { threads: flags.threads, signal, onProgress }),
    )
    try {
      return ggufJudge(model, { template: ChatTemplate.forModel(model), reader })
    } catch (error) {
      await model.close()
      throw error
    }
  }
  if (judgeName === undefined)
    throw new TraitscopeError('USAGE', '--judge-url needs --judge-name: name the model to ask there')
  if (reader === 'constrained')
    throw new TraitscopeError(
      'USAGE',
      'expected --judge-reader sampled or expected behind a url, found constrained, which takes the probabilities of all numbers; name a --judge-gguf',
    )
  return new EndpointJudge({
    url: judgeUrl!,
    model: judgeName,
    key: process.env.TRAITSCOPE_JUDGE_KEY ?? process.env.OPENAI_API_KEY,
    reader,
    prices,
    maxCost: flags.maxCost,
    limit: { most: flags.judgeCalls },
    onRetry: once((reason) => output.note(`judge: ${reason}; asked again`)),
  })
}

/** Tells everything once: thousands of calls may fail for one reason. */
function once(tell: (text: string) => void): (text: string) => void {
  const told = new Set<string>()
  return (text) => {
    if (!told.has(text)) tell(text)
    told.add(text)
  }
}

/** What a judge behind a url has taken, in a line. */
export function describeUse({
  used: { calls, repeated, inputTokens, outputTokens },
  cost,
}: EndpointJudge): string {
  const price = cost > 0 ? `, cost ${cost.toFixed(2)}` : ''
  const again = repeated > 0 ? `; asked again ${repeated} times` : ''
  return `${calls} calls, ${inputTokens} tokens read and ${outputTokens} written${price}${again}`
}
