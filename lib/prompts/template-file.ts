import { extname, join } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { isFile, statOf } from '../formats/files/file-stats.js'
import { readTextFile } from '../formats/files/text-file.js'
import { isJsonObject, parseTrainerJson } from '../formats/json/json.js'

/** tokenizer_config.json lists every added token, which takes up to a few megabytes. */
const MAX_FILE_BYTES = 32 * 1024 * 1024

const BYTE_ORDER_MARK = 'efbbbf'

const FOLDER_FILES = ['chat_template.jinja', 'tokenizer_config.json', 'chat_template.json']

/**
 * The source of a chat template from a file or a model or checkpoint folder: Jinja as it is, or the `chat_template` of
 * a JSON file (`tokenizer_config.json`), where a list of named templates gives the one called `name`. In a folder
 * `chat_template.jinja` wins, as it does in transformers.
 *
 * @throws TraitscopeError TEMPLATE when there is no template, or none of that name; FILE_NOT_FOUND, FILE_INVALID.
 */
export async function readChatTemplate(path: string, name = 'default'): Promise<string> {
  const info = await statOf(path)
  if (!info.isDirectory()) {
    const source = await readTemplateFile(path, name)
    if (source === undefined) {
      throw new TraitscopeError('TEMPLATE', `expected the key chat_template in ${path}, found none`)
    }
    return source
  }
  const found = await findChatTemplate(path, name)
  if (found !== undefined) return found.source
  throw new TraitscopeError(
    'TEMPLATE',
    `expected a chat template in the folder ${path} (${FOLDER_FILES.join(', ')}), found none; ` +
      'give one with --chat-template FILE',
  )
}

/**
 * The chat template that a folder brings; undefined when it brings none.
 *
 * @throws as {@link readChatTemplate}
 */
export async function findChatTemplate(
  folder: string,
  name = 'default',
): Promise<{ path: string; source: string } | undefined> {
  for (const file of FOLDER_FILES) {
    const path = join(folder, file)
    if (!(await isFile(path))) continue
    const source = await readTemplateFile(path, name)
    if (source !== undefined) return { path, source }
  }
  return undefined
}

async function readTemplateFile(path: string, name: string): Promise<string | undefined> {
  const { text, bytes } = await readTextFile(path, MAX_FILE_BYTES)
  if (extname(path) !== '.json') {
    if (Buffer.from(bytes.subarray(0, 3)).toString('hex') === BYTE_ORDER_MARK) {
      throw new TraitscopeError(
        'TEMPLATE',
        `the chat template ${path} begins with a byte order mark, which transformers sends to the model; save it without one`,
      )
    }
    return text
  }
  const config = parseTrainerJson(text, path)
  const template = isJsonObject(config) ? config.chat_template : undefined
  if (template === undefined || template === null) return undefined
  return typeof template === 'string' ? template : namedTemplate(template, name, path)
}

function namedTemplate(templates: unknown, name: string, path: string): string {
  const named = new Map<string, string>()
  for (const entry of Array.isArray(templates) ? templates : []) {
    if (isJsonObject(entry) && typeof entry.name === 'string' && typeof entry.template === 'string') {
      named.set(entry.name, entry.template)
    }
  }
  const source = named.get(name)
  if (source !== undefined) return source
  const known = named.size === 0 ? 'no named templates' : [...named.keys()].join(', ')
  throw new TraitscopeError('TEMPLATE', `expected a chat template named ${name} in ${path}, found ${known}`)
}
