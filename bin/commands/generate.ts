import { Command } from 'commander'
import { readingRemarks } from '../../lib/conditions/reading-remarks.js'
import { checkOutputFree, writeFileAtomic } from '../../lib/formats/files/atomic.js'
import { generateText, shareDone } from '../../lib/generation/generate.js'
import type { Generated } from '../../lib/model/generation.js'
import type { GenerationMemory } from '../../lib/model/placement.js'
import { type FilePrompt, readPromptFile } from '../../lib/prompts/prompt-file.js'
import {
  type AdapterFlags,
  adaptersFromFlags,
  addAdapterOptions,
  refuseIdlePromptFlags,
} from '../adapters.js'
import { notes } from '../help.js'
import { addModelOptions, inputsOf, type ModelFlags, openFromFlags, templateFromFlags } from '../model.js'
import { addOutputOptions, integer, number, option, repeated, sequencesOption } from '../options.js'
import { createOutput } from '../output.js'
import { counted, toJsonl } from '../text.js'

interface Flags extends ModelFlags, AdapterFlags {
  prompts: string
  maxTokens: number
  temperature: number
  topP: number
  topK: number
  minP: number
  seed: number
  draws: number
  stop?: string[]
  ignoreEos?: boolean
  sequences?: number
  raw?: boolean
  out?: string
  force?: boolean
  json?: boolean
  quiet?: boolean
}

/** `traitscope generate`: what a model answers, with or without adapters. */
export function generateCommand(signal: AbortSignal): Command {
  const command = new Command('generate')
    .description('write what a model answers to prompts')
    .requiredOption('-p, --prompts <file>', '.txt (a prompt a line), .jsonl or .json (prompt or messages)')
    .addOption(option('-n, --max-tokens <n>', 'tokens per answer at most').argParser(integer).default(256))
    .addOption(
      option('--temperature <x>', '0 takes the most probable token each time').argParser(number).default(0),
    )
    .addOption(option('--top-k <n>', 'keep the n most probable tokens; 0: all').argParser(integer).default(0))
    .addOption(option('--top-p <x>', 'of these the fewest that reach x').argParser(number).default(1))
    .addOption(
      option('--min-p <x>', 'of these those at least x times as probable as the first')
        .argParser(number)
        .default(0),
    )
    .addOption(option('--seed <n>', 'decides every random number').argParser(integer).default(0))
    .addOption(
      option('--draws <n>', 'answers per prompt; more than one need a temperature')
        .argParser(integer)
        .default(1),
    )
    .option('--stop <text>', 'ends an answer, and is cut off it; repeatable', repeated)
    .option('--ignore-eos', 'go on after the tokens that end an answer')
    .addOption(sequencesOption())
    .option('--raw', 'take text prompts as they are, without the chat template')
    .option('-o, --out <file>', 'JSONL file to write (default: the lines go to stdout)')
    .option('--force', 'replace an existing file')
    .addHelpText(
      'after',
      notes(`
One JSON object per prompt and draw: index (of the prompt), draw, prompt or messages, answer, finish (stop, length or
context) and tokens. The same configuration gives the same answers; a prompt's answers depend neither on the other prompts
nor on their order, up to rounding.

Example:
  $ traitscope generate -m base.gguf -p questions.txt --temperature 1 --draws 3 -o answers.jsonl`),
    )
  addAdapterOptions(command)
  return addOutputOptions(addModelOptions(command)).action(async (flags: Flags, made: Command) => {
    const output = createOutput(flags)
    refuseIdlePromptFlags(made, flags)
    if (flags.out !== undefined) {
      const inputs = inputsOf(flags)
      await checkOutputFree(flags.out, { force: flags.force === true, inputs })
    }
    const prompts = await readPromptFile(flags.prompts)
    await using model = await openFromFlags(flags, output, signal)
    const template = flags.raw ? undefined : await templateFromFlags(flags, model)
    await using applied = await adaptersFromFlags(model, flags, {
      template: template?.source,
      output,
      signal,
    })
    const remarks = readingRemarks(model)
    for (const remark of remarks) output.remark(remark)
    const started = performance.now()
    const generated = await output.during(
      `generating ${prompts.length * flags.draws} answers`,
      (update) =>
        generateText(applied.model, prompts, {
          template,
          maxTokens: flags.maxTokens,
          temperature: flags.temperature,
          topK: flags.topK,
          topP: flags.topP,
          minP: flags.minP,
          seed: flags.seed,
          draws: flags.draws,
          stop: flags.stop,
          ignoreEos: flags.ignoreEos,
          sequences: flags.sequences,
          adapters: applied.adapters,
          signal,
          onPlan: (memory) => output.note(describeMemory(memory)),
          onProgress: (so) => {
            const fraction = shareDone(so, flags.maxTokens)
            update(fraction, so.tokens / fraction)
          },
        }),
      { unit: 'tokens' },
    )
    const seconds = (performance.now() - started) / 1000
    const lines = generated.generations.flat().map(({ prompt, draw, text, finish, tokens }) => ({
      index: prompt,
      draw,
      ...shown(prompts[prompt]!),
      answer: text,
      finish,
      tokens: tokens.length,
    }))
    const summary = { adapters: applied.weights, remarks, ...summaryOf(generated, seconds) }
    const { out } = flags
    if (out !== undefined) {
      await writeFileAtomic(out, toJsonl(lines), { force: flags.force === true })
    }
    if (flags.json) return output.json({ ...(out === undefined ? { answers: lines } : { out }), ...summary })
    const words = `${counted(lines.length, 'answer')} (${describeEnds(summary.finish, flags.stop)}), ${summary.tokens.generated} tokens in ${seconds.toFixed(1)} s, ${summary.tokensPerSecond} tokens/s`
    if (out !== undefined) return output.print(`${out}: ${words}`)
    for (const line of lines) output.jsonLine(line)
    output.note(words)
  })
}

function shown({ text, messages }: FilePrompt): object {
  return messages ? { messages } : { prompt: text }
}

function summaryOf({ generations, tokens, memory }: Generated, seconds: number) {
  const finish: Record<string, number> = {}
  for (const { finish: how } of generations.flat()) finish[how] = (finish[how] ?? 0) + 1
  return {
    finish,
    tokens,
    memory,
    seconds: Number(seconds.toFixed(3)),
    tokensPerSecond: Number((tokens.generated / seconds).toFixed(1)),
  }
}

function describeEnds(finish: Record<string, number>, stops: readonly string[] = []): string {
  const words: Record<string, string> = {
    stop: stops.length > 0 ? 'ended by themselves or at --stop' : 'ended by themselves',
    length: 'cut at --max-tokens',
    context: "cut by the model's context",
  }
  return Object.entries(finish)
    .map(([how, n]) => `${n} ${words[how] ?? how}`)
    .join(', ')
}

function describeMemory({ sequences, cells, bytes }: GenerationMemory): string {
  return `key/value memory: ${sequences} sequences at once of up to ${cells} tokens, ${(bytes / 2 ** 20).toFixed(0)} MiB`
}
