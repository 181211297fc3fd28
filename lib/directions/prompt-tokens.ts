import { createHash } from 'node:crypto'
import type { Model } from '../model/model.js'
import type { ChatTemplate } from '../prompts/chat-template.js'
import type { Message } from '../prompts/messages.js'
import { templateTokens } from '../prompts/template-tokens.js'

/** Token ids of conversations through a chat template, generation prompt appended, one BOS at most. */
export function chatTokens(
  model: Model,
  template: ChatTemplate,
  prompts: readonly (readonly Message[])[],
): Promise<Int32Array[]> {
  return templateTokens(
    model,
    prompts.map((messages) => template.render(messages, { addGenerationPrompt: true })),
  )
}

/** SHA-256 over prompts in order, each as its length and its ids in 32-bit little-endian: equal input, equal hash. */
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
