import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf, fileError, ifThere } from '../../formats/files/file-errors.js'
import { fileNames, listFolder } from '../../formats/files/list-folder.js'
import type { GgufInput } from '../../formats/gguf/gguf.js'
import { isJsonObject } from '../../formats/json/json.js'
import { readOptional } from './optional-json.js'
import type { Settings } from './settings.js'

type Metadata = GgufInput['metadata'][number][]

/**
 * The chat templates of a folder: that of chat_template.jinja, or else of tokenizer_config.json, or else of chat_template.json, with
 * what additional_chat_templates/ or a list names beside it.
 */
export async function chatTemplates(folder: string, config: Settings, remarks: string[]): Promise<Metadata> {
  const key = 'tokenizer.chat_template'
  const named = config.get('chat_template') ?? undefined
  const separate = await separateTemplate(folder)
  const processor = await processorTemplate(folder)
  // As transformers: the file of its own goes before the entry.
  const stated = separate ?? named ?? processor
  if (separate !== undefined && named !== undefined && separate !== named) {
    remarks.push(
      `${config.where} has another chat_template than the file beside it: the file's is taken, as by transformers`,
    )
  }
  if (processor !== undefined && processor !== stated) {
    remarks.push(
      `${folder} has another template in chat_template.json, which is for processors of images and text: the tokenizer's is taken`,
    )
  }
  const more = await additionalTemplates(folder)
  if (stated === undefined) return more
  if (typeof stated === 'string') return [[key, 'string', stated], ...more]
  const list = Array.isArray(stated) ? (stated as unknown[]) : []
  const templates = list.map((entry): Metadata[number] => {
    const { name, template } = isJsonObject(entry) ? entry : {}
    if (typeof template !== 'string' || typeof name !== 'string') {
      return config.fail('chat_template', 'a text, or a list of names and templates', entry)
    }
    return [name === 'default' ? key : `${key}.${name}`, 'string', template]
  })
  return templates.length > 0
    ? [...templates, ...more.filter(([name]) => !templates.some(([own]) => own === name))]
    : config.fail('chat_template', 'a text, or a list of names and templates', stated)
}

/** Templates beside the default one, by their files' names. */
async function additionalTemplates(folder: string): Promise<Metadata> {
  const place = join(folder, 'additional_chat_templates')
  const entries = (await ifThere(listFolder(place, 'absent'))) ?? []
  const names = fileNames(entries).filter((name) => name.endsWith('.jinja'))
  return Promise.all(
    names.sort().map(async (name): Promise<Metadata[number]> => {
      const path = join(place, name)
      const text = await readFile(path, 'utf8').catch((error: unknown) => {
        throw fileError(error, path)
      })
      return [`tokenizer.chat_template.${name.slice(0, -'.jinja'.length)}`, 'string', text]
    }),
  )
}

async function separateTemplate(folder: string): Promise<string | undefined> {
  const path = join(folder, 'chat_template.jinja')
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw fileError(error, path)
  }
}

/** Of chat_template.json, which transformers' processors of images and text read, and its tokenizers do not. */
async function processorTemplate(folder: string): Promise<string | undefined> {
  const template = (await readOptional(join(folder, 'chat_template.json')))?.chat_template
  return typeof template === 'string' ? template : undefined
}
