/** Opening what the shared flags name: the model and its chat template. */
import { type Model, openModel } from '../lib/model/model.js'
import { ChatTemplate } from '../lib/prompts/chat-template.js'
import { readChatTemplate } from '../lib/prompts/template-file.js'
import type { ModelFlags } from './options.js'
import type { Output } from './output.js'

export async function openFromFlags(flags: ModelFlags, output: Output, signal: AbortSignal): Promise<Model> {
  const { gpuLayers, batchTokens, threads } = flags
  return output.during(`loading ${flags.model}`, (onProgress) =>
    openModel(flags.model, { gpuLayers, batchTokens, threads, signal, onProgress }),
  )
}

/** The template that the flags ask for; the acknowledgement belongs to the trait pack. */
export async function templateFromFlags(
  flags: ModelFlags,
  model: Model,
  acknowledgement?: string,
): Promise<ChatTemplate> {
  const options = { systemRole: flags.systemRole, acknowledgement }
  if (flags.chatTemplate === undefined) return ChatTemplate.forModel(model, options)
  return new ChatTemplate(await readChatTemplate(flags.chatTemplate), {
    ...options,
    bosToken: model.bosToken?.text,
    eosToken: model.eosToken?.text,
  })
}
