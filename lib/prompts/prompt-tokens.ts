import { createHash } from 'node:crypto'
import { checkList, checkMade } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import type { Model } from '../model/model.js'
import { type ChatTemplate, TEMPLATE } from './chat-template.js'
import type { Message } from './messages.js'
import type { FilePrompt } from './prompt-file.js'

/**
 * Token ids of conversations through a chat template, generation prompt appended. The template is tokenized
 * as it is, as `apply_chat_template` of transformers does: a BOS is there if and only if the template writes
 * one, so never twice.
 *
 * @throws TraitscopeError TEMPLATE, also for a template that leaves out what users say
 */
export async function chatTokens(
  model: Pick<Model, 'tokenize'>,
  template: ChatTemplate,
  prompts: readonly (readonly Message[])[],
): Promise<Int32Array[]> {
  checkMade(template, TEMPLATE)
  checkList('conversations', prompts)
  const texts = prompts.map((messages) => template.render(messages, { addGenerationPrompt: true }))
  template.checkComplete(prompts)
  return model.tokenize(texts, { addSpecial: false, parseSpecial: true })
}

/**
 * Token ids of a user's prompts: conversations and texts, which are a user's turn, through the template; without one,
 * texts as they are.
 *
 * @throws TraitscopeError `USAGE` for messages without a template; as `chatTokens`
 */
export async function promptTokens(
  model: Pick<Model, 'tokenize'>,
  prompts: readonly FilePrompt[],
  template: ChatTemplate | undefined,
): Promise<Int32Array[]> {
  checkList('prompts', prompts)
  if (template) {
    return chatTokens(
      model,
      template,
      prompts.map(({ messages, text }) => messages ?? [{ role: 'user', content: text }]),
    )
  }
  const texts = prompts.map(({ text }) => {
    if (text === undefined) {
      throw new TraitscopeError(
        'USAGE',
        'without a template (--raw) every prompt is a text, found messages or neither: give a template (leave --raw out)',
      )
    }
    return text
  })
  return model.tokenize(texts)
}

/**
 * SHA-256 over prompts in order, each as its length and its ids in 32-bit little-endian: equal input, equal
 * hash.
 */
export class TokenHash {
  readonly #hash = createHash('sha256')

  add(prompts: readonly Int32Array[]): this {
    for (const ids of prompts) {
      const bytes = Buffer.alloc(4 + 4 * ids.length)
      bytes.writeInt32LE(ids.length)
      for (const [i, id] of ids.entries()) bytes.writeInt32LE(id, 4 + 4 * i)
      this.#hash.update(bytes)
    }
    return this
  }

  digest(): string {
    return this.#hash.digest('hex')
  }
}

/** The {@link TokenHash} of a list. */
export const tokenHash = (prompts: readonly Int32Array[]): string => new TokenHash().add(prompts).digest()
