import { type Context, inContext } from '../contexts/context.js'
import { TraitscopeError } from '../errors.js'
import type { Model } from '../model/model.js'
import type { ChatTemplate } from '../prompts/chat-template.js'
import type { Message } from '../prompts/messages.js'
import { chatTokens } from '../prompts/prompt-tokens.js'

/** A context with the evaluation prompts as they are read in it. */
export interface ContextPrompts extends Context {
  prompts: readonly Int32Array[]
  /** How much longer it makes a prompt, in tokens. */
  tokens: number
}

/**
 * Tokenizes the evaluation prompts in every context.
 *
 * @param plain the same prompts in none
 * @throws TraitscopeError USAGE for a name that is given twice; PROMPT_TOO_LONG naming the context; TEMPLATE
 */
export async function contextPrompts(
  model: Pick<Model, 'tokenize' | 'batchTokens'>,
  template: ChatTemplate,
  messages: readonly (readonly Message[])[],
  plain: readonly Int32Array[],
  contexts: readonly Context[],
): Promise<ContextPrompts[]> {
  const names = contexts.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) {
    throw new TraitscopeError('USAGE', `expected contexts of different names, found ${twice} twice`)
  }
  const read: ContextPrompts[] = []
  for (const context of contexts) {
    const prompts = await chatTokens(
      model,
      template,
      messages.map((one) => inContext(one, context)),
    )
    const longest = prompts.reduce((most, { length }) => Math.max(most, length), 0)
    if (longest > model.batchTokens) {
      throw new TraitscopeError(
        'PROMPT_TOO_LONG',
        `in the context ${context.name} a prompt has ${longest} tokens, but memory holds ${model.batchTokens} at once; leave the context out or raise batchTokens (--batch-tokens)`,
      )
    }
    read.push({ ...context, prompts, tokens: prompts[0]!.length - plain[0]!.length })
  }
  return read
}
