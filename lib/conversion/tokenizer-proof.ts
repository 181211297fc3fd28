import { join } from 'node:path'
import { isTraitscopeError, messageOf, TraitscopeError } from '../errors.js'
import { ifThere } from '../formats/files/file-errors.js'
import { isJsonObject, readJsonFile } from '../formats/json/json.js'
import { shown } from '../formats/json/json-scan.js'
import { PROMOTED_TOKENS } from '../model/prompt-tokenizer.js'
import type { OpenVocabulary } from '../model/vocabulary.js'
import { ChatTemplate } from '../prompts/chat-template.js'
import { piecesTokenizer } from './pieces-tokenizer.js'
import { OTHER_DIGITS, PROBE_CHATS, PROBE_TEXTS } from './probe-texts.js'

/** What a converted tokenizer was compared with. */
export interface TokenizerProof {
  /** Texts whose ids are those of Hugging Face's tokenizers; 0 where there was nothing to compare with. */
  texts: number
  ids: number
  /** What could not be compared, and why. */
  remarks: string[]
  /** Why no id could be compared, where that is a matter of the folder and not of what is installed. */
  unproven?: string
}

const NOT_COMPARED = "token ids were not compared with Hugging Face's"

/** Added tokens of a vocabulary that are probed: the first and the last, where a family has thousands. */
const PROBED_TOKENS = 200

interface HfTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] }
}

interface Library {
  Tokenizer: new (tokenizer: object, config: object) => HfTokenizer
}

/**
 * Compares a converted tokenizer with the Hugging Face one of the folder, as their own JavaScript library reads it:
 * texts in which tokenizers differ, every special token beside a text and a space, and rendered conversations.
 *
 * @param converted what the converted model is, and its template
 * @param load gives Hugging Face's library; an optional dependency
 * @throws TraitscopeError UNSUPPORTED with the first text whose ids differ
 */
export async function proveTokenizer(
  folder: string,
  vocabulary: OpenVocabulary,
  { architecture, template }: { architecture: string; template: string | undefined },
  load: () => Promise<Library> = () => import('@huggingface/tokenizers'),
): Promise<TokenizerProof> {
  const remarks: string[] = []
  const config = (await optionalJson(join(folder, 'tokenizer_config.json'))) ?? {}
  const own = await optionalJson(join(folder, 'tokenizer.json'))
  const json = own ?? (await piecesTokenizer(folder, config, architecture))
  if (json === undefined) {
    const unproven = 'the folder has neither tokenizer.json nor tokenizer.model'
    return { texts: 0, ids: 0, remarks: [`${NOT_COMPARED}: ${unproven}`], unproven }
  }
  const reference = await hfTokenizer(load, json, config)
  if (typeof reference === 'string') {
    return { texts: 0, ids: 0, remarks: [`${NOT_COMPARED}: ${reference}`], unproven: reference }
  }
  if (!reference) {
    const install = '@huggingface/tokenizers is not installed (npm install @huggingface/tokenizers)'
    return { texts: 0, ids: 0, remarks: [`${NOT_COMPARED}: ${install}`] }
  }
  if (!own) {
    remarks.push(
      `${folder} has no tokenizer.json: token ids were compared with those of Hugging Face's tokenizer made from tokenizer.model, as transformers makes it`,
    )
  }
  const rendered = conversations(vocabulary, template, remarks)
  const plain = [...probeTexts(json), ...aroundTokens(json), ...rendered]
  const counts = [
    await compare(plain, false, reference, vocabulary, folder),
    await compare(['Hello, world!'], true, reference, vocabulary, folder),
  ]
  return { texts: plain.length + 1, ids: counts.reduce((a, b) => a + b), remarks }
}

/** Without sentencepiece's own space, and without digits of other scripts where Hugging Face's library splits them otherwise than their tokenizers do. */
function probeTexts(tokenizer: Record<string, unknown>): string[] {
  const splitsDigits = JSON.stringify(tokenizer.pre_tokenizer ?? null).includes('"type":"Digits"')
  const promoted = PROMOTED_TOKENS.filter((text) => !text.includes('▁')).join(' ')
  return [...PROBE_TEXTS, promoted, ...(splitsDigits ? [] : [OTHER_DIGITS])]
}

/** @returns how many ids were equal */
async function compare(
  texts: readonly string[],
  addSpecial: boolean,
  reference: HfTokenizer,
  vocabulary: OpenVocabulary,
  folder: string,
): Promise<number> {
  const found = await vocabulary.tokenize(texts, addSpecial)
  let count = 0
  for (const [i, text] of texts.entries()) {
    const expected = reference.encode(text, { add_special_tokens: addSpecial }).ids
    const ids = found[i]!
    count += ids.length
    const first = Array.from({ length: Math.max(expected.length, ids.length) }, (_, k) => k).find(
      (k) => expected[k] !== ids[k],
    )
    if (first === undefined) continue
    const from = Math.max(0, first - 2)
    throw new TraitscopeError(
      'UNSUPPORTED',
      `the tokenizer of ${folder} would not give the ids of Hugging Face's for ${shown(text)}${addSpecial ? ' with its special tokens' : ''}: from token ${from} on they are ${shown(expected.slice(from, first + 4))}, llama.cpp's ${shown([...ids.slice(from, first + 4)])}; every prompt with such text would be misread`,
    )
  }
  return count
}

/** Each added token alone, within words, and with spaces on either side. */
function aroundTokens(tokenizer: Record<string, unknown>): string[] {
  const list = Array.isArray(tokenizer.added_tokens) ? (tokenizer.added_tokens as unknown[]) : []
  // Some of Gemma's are runs of spaces as sentencepiece writes them; nobody writes them so in a prompt.
  const texts = list.flatMap((entry) =>
    isJsonObject(entry) && typeof entry.content === 'string' ? [entry.content.replaceAll('▁', ' ')] : [],
  )
  const probed =
    texts.length > 2 * PROBED_TOKENS
      ? [...texts.slice(0, PROBED_TOKENS), ...texts.slice(-PROBED_TOKENS)]
      : texts
  return [
    ...probed.flatMap((token) => [token, `a${token}b`, `one ${token} two`, `${token}\n\n three`]),
    probed.slice(0, 20).join(''),
    probed.slice(0, 20).join(' '),
  ]
}

function conversations({ info }: OpenVocabulary, source: string | undefined, remarks: string[]): string[] {
  if (source === undefined) return []
  try {
    const template = new ChatTemplate(source, { bosToken: info.bos?.text, eosToken: info.eos?.text })
    return PROBE_CHATS.map((messages) => template.render(messages, { addGenerationPrompt: true }))
  } catch (error) {
    if (!isTraitscopeError(error, 'TEMPLATE')) throw error
    remarks.push(`the ids of a rendered conversation were not compared: ${error.message}`)
    return []
  }
}

/** Undefined where the library is not installed; a reason where it cannot read this tokenizer. */
async function hfTokenizer(
  load: () => Promise<Library>,
  json: Record<string, unknown>,
  config: Record<string, unknown>,
): Promise<HfTokenizer | string | undefined> {
  const library = await load().catch((error: unknown) => {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ERR_MODULE_NOT_FOUND') return undefined
    throw error
  })
  if (!library) return undefined
  // The library takes absent parts for missing and null ones for none.
  const parts = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, ...json }
  try {
    return new library.Tokenizer(parts, config)
  } catch (error) {
    return `Hugging Face's library cannot read this tokenizer: ${messageOf(error)}`
  }
}

async function optionalJson(path: string): Promise<Record<string, unknown> | undefined> {
  const json = await ifThere(readJsonFile(path))
  return isJsonObject(json) ? json : undefined
}
