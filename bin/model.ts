/** Opening what the shared flags name: the model and its chat template. */
import { type Model, openModel } from '../lib/model/model.js'
import { describePlacement } from '../lib/model/place-model.js'
import { ChatTemplate } from '../lib/prompts/chat-template.js'
import { readChatTemplate } from '../lib/prompts/template-file.js'
import type { AdapterFlag, ModelFlags } from './options.js'
import type { Output } from './output.js'

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
