/** The model that flags name, and its chat template. */
import { type Command, InvalidArgumentError } from 'commander'
import { type Model, openModel } from '../lib/model/model.js'
import { describePlacement } from '../lib/model/place-model.js'
import { ChatTemplate } from '../lib/prompts/chat-template.js'
import { readChatTemplate } from '../lib/prompts/template-file.js'
import type { AdapterFlag } from './adapters.js'
import { integer, option, underHeading } from './options.js'
import type { Output } from './output.js'

export interface ModelFlags {
  model: string
  device: string
  gpuLayers: number | 'auto'
  maxVram?: number
  batchTokens?: number
  threads?: number
  chatTemplate?: string
  systemRole: 'auto' | 'native' | 'user-turn'
}

/** @param mandatory false for a command that can do without a base */
export function addModelOptions(command: Command, { mandatory = true } = {}): Command {
  return underHeading(command, 'Base model:', () =>
    command
      .addOption(option('-m, --model <gguf>', 'base model').makeOptionMandatory(mandatory))
      .addOption(
        option('--device <name>', 'cpu, a device that `traitscope doctor` lists, or auto').default('auto'),
      )
      .addOption(
        option('--gpu-layers <n>', 'how many of the blocks that run go to the GPU, or auto (also -ngl)')
          .argParser(gpuLayers)
          .default('auto'),
      )
      .addOption(
        option(
          '--max-vram <size>',
          'GPU memory to take at most, as 6G (auto: half of what is free)',
        ).argParser(bytes),
      )
      .addOption(
        option(
          '--batch-tokens <n>',
          'tokens computed at once: no fewer than the longest prompt has (default: 256 to 2048, so that they take some 700 MB; also -ub)',
        ).argParser(integer),
      )
      .addOption(option('-t, --threads <n>', 'CPU threads (default: all)').argParser(integer))
      .addOption(
        option(
          '--chat-template <file>',
          "Jinja file instead of the GGUF's own template, or plain: a message a line",
        ),
      )
      .addOption(
        option(
          '--system-role <how>',
          'system prompts as the template has them, as a user turn that is acknowledged, or auto: a user turn where the template has no place for them',
        )
          .choices(['auto', 'native', 'user-turn'])
          .default('auto'),
      ),
  )
}

/** `6G`, `6GiB`, `1500M` or plain bytes: units are powers of 1024. */
function bytes(text: string): number {
  const found = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim())
  if (!found) throw new InvalidArgumentError('expected an amount of memory such as 6G or 1500M.')
  return Math.floor(Number(found[1]) * 1024 ** ' kmgt'.indexOf(found[2]!.toLowerCase() || ' '))
}

function gpuLayers(text: string): number | 'auto' {
  return text === 'auto' ? 'auto' : integer(text)
}

/** The whole model in memory of its own: a file that is cut short under a watch cannot end the process. */
export const WHOLE = 'whole'

/** The files and folders that a command with prompts reads. */
export function inputsOf({
  model,
  chatTemplate,
  prompts,
  adapter = [],
}: Pick<ModelFlags, 'model' | 'chatTemplate'> & {
  prompts?: string
  adapter?: readonly AdapterFlag[]
}): (string | undefined)[] {
  return [model, chatTemplate, prompts, ...adapter.map(({ folder }) => folder)]
}

/** @param layers those that will be read; without them the whole model is opened */
export async function openFromFlags(
  flags: ModelFlags,
  output: Output,
  signal: AbortSignal,
  layers?: readonly number[] | typeof WHOLE,
): Promise<Model> {
  const { device, gpuLayers, maxVram, batchTokens, threads } = flags
  const part = layers === WHOLE ? { mmap: false } : { layers }
  const placed = { ...part, device, gpuLayers, maxVram }
  const model = await output.during(`loading ${flags.model}`, (onProgress) =>
    openModel(flags.model, { ...placed, batchTokens, threads, signal, onProgress }),
  )
  const placement = describePlacement(model.placement)
  if (placement !== undefined) output.note(placement)
  return model
}

/** The template that the flags ask for; the acknowledgement belongs to the trait pack. */
export async function templateFromFlags(
  flags: ModelFlags,
  model: Model,
  acknowledgement?: string,
): Promise<ChatTemplate> {
  const options = { systemRole: flags.systemRole, acknowledgement }
  if (flags.chatTemplate === undefined) return ChatTemplate.forModel(model, options)
  if (flags.chatTemplate === 'plain') return ChatTemplate.plain(model, options)
  return new ChatTemplate(await readChatTemplate(flags.chatTemplate), {
    ...options,
    bosToken: model.bosToken?.text,
    eosToken: model.eosToken?.text,
  })
}
