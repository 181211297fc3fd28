import { basename } from 'node:path'
import { isTraitscopeError } from '../errors.js'
import type { GgufContents } from '../formats/gguf/gguf.js'
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
      if (plainSource(found.source) === plainSource(source)) return undefined
      return `its own chat template (${basename(found.path)}) is not the one that the prompts are rendered with; --chat-template FILE takes another`
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

/** As jinja2 sees it: line ends are line feeds, and a last one is dropped. */
function plainSource(source: string): string {
  return source.replace(/\r\n?/g, '\n').replace(/\n$/, '')
}
