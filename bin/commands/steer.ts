import { Command, Option } from 'commander'
import { readingRemarks } from '../../lib/conditions/reading-remarks.js'
import { loadDirections } from '../../lib/directions/directions-folder.js'
import { TraitscopeError } from '../../lib/errors.js'
import { checkOutputFree, writeFileAtomic } from '../../lib/formats/files/atomic.js'
import { shareDone } from '../../lib/generation/generate.js'
import { type FilePrompt, readPromptFile } from '../../lib/prompts/prompt-file.js'
import { loadSteeringSuite } from '../../lib/prompts/steering-suite.js'
import { readControlVector } from '../../lib/steering/control-vector-file.js'
import { type SteeredAnswer, type SteeredPrompt, steer } from '../../lib/steering/steer.js'
import { fitRemarks, type SteeringVector, steeringVector } from '../../lib/steering/steering-vector.js'
import {
  type AdapterFlags,
  adaptersFromFlags,
  addAdapterOptions,
  refuseIdlePromptFlags,
} from '../adapters.js'
import { notes } from '../help.js'
import { addModelOptions, inputsOf, type ModelFlags, openFromFlags, templateFromFlags } from '../model.js'
import {
  addOutputOptions,
  integer,
  integerList,
  number,
  numberList,
  option,
  refuseIdle,
  sequencesOption,
} from '../options.js'
import { createOutput, type Output } from '../output.js'
import { counted, layersText, toJsonl } from '../text.js'

interface Flags extends ModelFlags, AdapterFlags {
  directions?: string
  trait?: string
  layer?: number[]
  vector?: string
  vectorShift?: '0' | '1'
  dose: number[]
  prompts?: string
  limit?: number
  maxTokens: number
  temperature: number
  topP: number
  seed: number
  sequences?: number
  raw?: boolean
  out?: string
  force?: boolean
  json?: boolean
  quiet?: boolean
}

/** `traitscope steer`: what a direction does to answers. */
export function steerCommand(signal: AbortSignal): Command {
  const command = new Command('steer')
    .description('answers with a direction added and taken away, beside those without it')
    .addOption(option('-d, --directions <dir>', 'directions folder made by `traitscope directions`'))
    .option('--trait <name>', 'whose direction of the folder')
    .addOption(
      option(
        '-l, --layer <n[,n]>',
        'blocks to steer at, 0-based (default: all that the folder or file has)',
      ).argParser(integerList),
    )
    .option('--vector <file>', 'control-vector GGUF instead, of traitscope, llama.cpp or others')
    .addOption(
      new Option(
        '--vector-shift <n>',
        "blocks to move its vectors down by (default: 1 for a file of llama.cpp's generator)",
      ).choices(['0', '1']),
    )
    .addOption(
      option(
        '--dose <x[,x]>',
        'in lengths of a mean state at the block, of a foreign file in its own length; both signs are taken',
      )
        .argParser(numberList)
        .default([0.1], '0.1'),
    )
    .option(
      '-p, --prompts <file>',
      '.txt, .jsonl or .json as for generate (default: the steering suite of the trait)',
    )
    .addOption(option('--limit <n>', 'only the first n prompts').argParser(integer))
    .addOption(option('-n, --max-tokens <n>', 'tokens per answer at most').argParser(integer).default(100))
    .addOption(
      option('--temperature <x>', '0 takes the most probable token each time').argParser(number).default(0),
    )
    .addOption(option('--top-p <x>', 'the fewest tokens that reach x').argParser(number).default(1))
    .addOption(option('--seed <n>', 'decides every random number').argParser(integer).default(0))
    .addOption(sequencesOption())
    .option('--raw', 'take text prompts as they are, without the chat template')
    .option('-o, --out <file>', 'JSONL file to write')
    .option('--force', 'replace an existing file')
    .addHelpText(
      'after',
      notes(`
Of each prompt three answers: as the model is, with the direction added (+) and taken away (-), with the same random numbers. The
number beside an answer is its distance from the first one, 0 (the same text) to 1. JSONL has a line per prompt and dose.

Example:
  $ traitscope steer -m base.gguf -d directions --trait honesty --layer 14 --dose 0.1,0.2 --limit 3
  $ traitscope steer -m base.gguf --vector honesty.gguf -p questions.txt -o steered.jsonl`),
    )
  addAdapterOptions(command)
  return addOutputOptions(addModelOptions(command)).action(async (flags: Flags, made: Command) => {
    const output = createOutput(flags)
    refuseIdlePromptFlags(made, flags)
    const idle = flags.vector === undefined ? 'vectorShift' : 'trait'
    const where = flags.vector === undefined ? 'a --vector to shift' : 'a file with one vector (--vector)'
    refuseIdle(made, where, (name) => name !== idle)
    if (flags.out !== undefined) {
      const inputs = [...inputsOf(flags), flags.directions, flags.vector]
      await checkOutputFree(flags.out, { force: flags.force === true, inputs })
    }
    const vector = await vectorFromFlags(flags)
    const prompts = await promptsFromFlags(flags, vector)
    await using model = await openFromFlags(flags, output, signal)
    const remarks = [...vector.remarks, ...fitRemarks(model, vector), ...readingRemarks(model)]
    for (const remark of remarks) output.remark(remark)
    const template = flags.raw ? undefined : await templateFromFlags(flags, model)
    await using applied = await adaptersFromFlags(model, flags, {
      template: template?.source,
      output,
      signal,
    })
    const { adapters } = applied
    const { maxTokens, temperature, topP, seed, sequences, dose } = flags
    const steered = await output.during(
      `generating ${prompts.length * (1 + 2 * dose.length)} answers`,
      (update) =>
        steer(applied.model, vector, prompts, {
          ...{ template, maxTokens, temperature, topP, seed, sequences, adapters, signal },
          doses: dose,
          onProgress: (so) => update(shareDone(so, maxTokens)),
        }),
      { unit: 'tokens' },
    )
    const about = { trait: vector.name, layers: [...vector.vectors.keys()], unit: vector.unit }
    const lines = steered.map(({ prompt, ...rest }) => ({
      index: prompt,
      ...prompts[prompt],
      ...about,
      ...rest,
    }))
    if (flags.out !== undefined) {
      await writeFileAtomic(flags.out, toJsonl(lines), { force: flags.force === true })
    }
    const mean = meanDivergence(steered)
    if (flags.json) {
      const { out } = flags
      const answers = out === undefined ? { answers: lines } : { out }
      return output.json({
        ...answers,
        ...about,
        origin: vector.origin,
        divergence: mean,
        remarks,
      })
    }
    if (flags.out === undefined) printSteered(output, prompts, steered)
    else
      output.print(
        `${flags.out}: ${counted(steered.length, 'comparison')} of ${vector.name} at ${layersText(about.layers)}`,
      )
    for (const { dose, positive, negative } of mean) {
      output.note(
        `dose ${dose}: mean distance from the first answer ${positive.toFixed(2)} (+) and ${negative.toFixed(2)} (-)`,
      )
    }
  })
}

async function vectorFromFlags({
  directions,
  vector,
  trait,
  layer,
  vectorShift,
}: Flags): Promise<SteeringVector> {
  if ((directions === undefined) === (vector === undefined)) {
    throw new TraitscopeError(
      'USAGE',
      `expected --directions DIR with --trait NAME, or --vector FILE, found ${directions === undefined ? 'neither' : 'both'}`,
    )
  }
  if (vector !== undefined) {
    const shift = vectorShift === undefined ? undefined : (Number(vectorShift) as 0 | 1)
    return atLayers(await readControlVector(vector, { shift }), layer)
  }
  const loaded = await loadDirections(directions!)
  if (trait === undefined) {
    throw new TraitscopeError('USAGE', `expected --trait, one of ${loaded.traits.join(', ')}, found none`)
  }
  return steeringVector(loaded, trait, layer)
}

function atLayers(vector: SteeringVector, layers: readonly number[] | undefined): SteeringVector {
  if (layers === undefined) return vector
  const missing = layers.filter((layer) => !vector.vectors.has(layer))
  if (missing.length > 0) {
    throw new TraitscopeError(
      'USAGE',
      `expected layers that the file has vectors for (${[...vector.vectors.keys()].join(', ')}), found ${missing.join(', ')}`,
    )
  }
  return { ...vector, vectors: new Map(layers.map((layer) => [layer, vector.vectors.get(layer)!])) }
}

async function promptsFromFlags({ prompts, limit }: Flags, { name }: SteeringVector): Promise<FilePrompt[]> {
  if (prompts !== undefined) return (await readPromptFile(prompts)).slice(0, limit)
  const { items } = await loadSteeringSuite('core')
  const own = items.filter(({ trait }) => trait === name)
  if (own.length === 0) {
    throw new TraitscopeError(
      'USAGE',
      `the steering suite has no prompts for ${name}: give some with --prompts FILE`,
    )
  }
  return own.slice(0, limit).map(({ messages }) => ({ messages }))
}

function meanDivergence(steered: readonly SteeredPrompt[]) {
  return [...new Set(steered.map(({ dose }) => dose))].map((dose) => {
    const of = steered.filter((one) => one.dose === dose)
    const mean = (sign: 'positive' | 'negative') =>
      of.reduce((sum, { divergence }) => sum + divergence[sign], 0) / of.length
    return { dose, positive: mean('positive'), negative: mean('negative') }
  })
}

function printSteered(
  output: Output,
  prompts: readonly FilePrompt[],
  steered: readonly SteeredPrompt[],
): void {
  let last: number | undefined
  for (const { prompt, dose, baseline, positive, negative, divergence } of steered) {
    if (prompt !== last) {
      const { messages, text } = prompts[prompt]!
      output.print(`prompt ${prompt + 1}: ${messages?.map(({ content }) => content).join(' / ') ?? text}`)
      output.print(`  as it is: ${shown(baseline)}`)
    }
    last = prompt
    output.print(`  +${dose} (${divergence.positive.toFixed(2)}): ${shown(positive)}`)
    output.print(`  -${dose} (${divergence.negative.toFixed(2)}): ${shown(negative)}`)
  }
}

/** Line ends are shown as they are written; an answer that was cut says so. */
function shown({ text, finish }: SteeredAnswer): string {
  return `${text.trim()}${finish === 'stop' ? '' : ' ...'}`
}
