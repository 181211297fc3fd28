import { basename } from 'node:path'
import { isTraitscopeError } from '../errors.js'
import type { GgufContents } from '../formats/gguf/gguf.js'
import { ChatTemplate } from './chat-template.js'
import type { Message } from './messages.js'
import { findChatTemplate } from './template-file.js'

/**
 * A sentence when the chat template that a checkpoint was trained with, going by the files beside it, is not the one
 * that it is read with: the model then sees its prompts in a form that it was not trained on. Undefined when they are the same,
 * or when no folder brings one.
 *
 * @param folders that may hold the checkpoint's template, nearest first
 * @param source of the template that prompts are rendered with
 */
export async function templateRemark(
  folders: readonly string[],
  source: string,
): Promise<string | undefined> {
  for (const folder of new Set(folders)) {
    try {
      const found = await findChatTemplate(folder)
      if (found === undefined) continue
      const difference = templateDifference(found.source, source)
      if (difference === undefined) return undefined
      return `${OTHER} (${basename(found.path)}) is not the one that the prompts are rendered with: ${difference}; --chat-template FILE takes another`
    } catch (error) {
      if (!isTraitscopeError(error)) throw error
      return `its own chat template cannot be compared with the one that the prompts are rendered with: ${error.message}`
    }
  }
  return undefined
}

/** {@link templateRemark} against the template of a base GGUF; none without one. */
export async function baseTemplateRemark(
  folders: readonly string[],
  base: Pick<GgufContents, 'metadata'>,
): Promise<string | undefined> {
  const template = base.metadata.get('tokenizer.chat_template')
  return typeof template === 'string' ? templateRemark(folders, template) : undefined
}

const OTHER = 'its own chat template'

/** Whether a remark says that a checkpoint's own template is another one. */
export const isOtherTemplate = (remark: string): boolean => remark.startsWith(`${OTHER} (`)

const SYSTEM: Message = { role: 'system', content: 'Answer in one sentence.' }
const USER: Message = { role: 'user', content: ' What holds a bridge up?\n' }
const ANSWER: Message = { role: 'assistant', content: '\nIts piers. ' }

/** What a template can be told by: blanks at the ends, with and without a system message, one turn and more. */
const PROBES: readonly (readonly [title: string, messages: readonly Message[]])[] = [
  ['a question', [USER]],
  ['a system message and a question', [SYSTEM, USER]],
  ['a second question', [USER, ANSWER, USER]],
  ['a system message and a second question', [SYSTEM, USER, ANSWER, USER]],
]

/**
 * Half a sentence on what one template makes of a conversation and another does not; undefined when they make the same of all
 * of several. Templates are compared by what they write, not as they are written: trainers mark their parts for the loss,
 * and line ends, comments and what concerns tools change no prompt of ours.
 *
 * @throws TraitscopeError TEMPLATE when one of them is no template
 */
export function templateDifference(own: string, used: string): string | undefined {
  const [mine, theirs] = [own, used].map(
    (source) => new ChatTemplate(source, { bosToken: '<s>', eosToken: '</s>', systemRole: 'native' }),
  ) as [ChatTemplate, ChatTemplate]
  if (mine.source.replace(/\n$/, '') === theirs.source.replace(/\n$/, '')) return undefined
  for (const [title, messages] of PROBES) {
    const [a, b] = [written(mine, messages), written(theirs, messages)]
    if (a === b) continue
    if (a === undefined) return `it refuses ${title}`
    if (b === undefined) return `it takes ${title}, which the other refuses`
    return `of ${title} it makes ${excerpts(a, b)}`
  }
  return undefined
}

/** Undefined when the template refuses the conversation. */
function written(template: ChatTemplate, messages: readonly Message[]): string | undefined {
  try {
    return template.render(messages, { addGenerationPrompt: true })
  } catch (error) {
    if (isTraitscopeError(error, 'TEMPLATE')) return undefined
    throw error
  }
}

const BEFORE = 12
const AFTER = 28

/** `"...", not "..."`: both texts about the first place where they part. */
function excerpts(a: string, b: string): string {
  let at = 0
  while (a[at] === b[at]) at++
  const [from, to] = [Math.max(0, at - BEFORE), at + AFTER]
  const excerpt = (text: string) =>
    JSON.stringify(`${from > 0 ? '…' : ''}${text.slice(from, to)}${to < text.length ? '…' : ''}`)
  return `${excerpt(a)}, not ${excerpt(b)}`
}
