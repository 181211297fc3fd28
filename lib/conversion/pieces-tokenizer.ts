import { join } from 'node:path'
import { ifThere } from '../formats/files/file-errors.js'
import { readWhole } from '../formats/files/read-whole.js'
import { parseSentencePiece, type SentencePiece } from '../formats/hf/sentencepiece.js'
import { addedTokens } from '../model/convert/hf-vocabulary.js'
import type { Json } from '../model/convert/settings.js'

const SPACE = '▁'
const UNKNOWN = 2
const CONTROL = 3
const BYTE = 6

/**
 * The tokenizer.json that transformers makes of a folder that has none, from tokenizer.model and tokenizer_config.json: a BPE
 * whose merges are all the ways to write a piece as two others, in the order of the pieces' scores. Undefined without a
 * tokenizer.model.
 *
 * It is another way to the same ids than llama.cpp's, which goes by the scores alone.
 */
export async function piecesTokenizer(
  folder: string,
  config: Json,
  architecture: string,
): Promise<Record<string, unknown> | undefined> {
  const path = join(folder, 'tokenizer.model')
  const bytes = await ifThere(readWhole(path))
  if (!bytes) return undefined
  const pieces = parseSentencePiece(bytes, path)
  const ids = new Map(pieces.map(({ text }, id) => [text, id]))
  const stated = addedTokens(config.added_tokens_decoder)
  const own = pieces.flatMap(({ text, type }, id) =>
    type === UNKNOWN || type === CONTROL
      ? [{ id, content: text, special: true, normalized: false, lstrip: false, rstrip: false }]
      : [],
  )
  const bos = typeof config.bos_token === 'string' ? config.bos_token : own[1]?.content
  return {
    version: '1.0',
    added_tokens: (stated.length > 0 ? stated : own).map((token) => ({ ...token, single_word: false })),
    ...spaces(config, architecture),
    post_processor: config.add_bos_token === false || bos === undefined ? null : startsWith(bos, ids),
    decoder: null,
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(ids),
      merges: mergesOf(pieces, ids),
      unk_token: pieces.find(({ type }) => type === UNKNOWN)?.text ?? null,
      fuse_unk: true,
      byte_fallback: pieces.some(({ type }) => type === BYTE),
    },
  }
}

/** As transformers' classes go by their flags; Gemma's adds none. */
function spaces(config: Json, architecture: string): Json {
  const replaced = { type: 'Replace', pattern: { String: ' ' }, content: SPACE }
  if (architecture.startsWith('gemma') || config.add_prefix_space === false) {
    return { normalizer: replaced, pre_tokenizer: null }
  }
  if (config.legacy === false) {
    const first = { replacement: SPACE, prepend_scheme: 'first', split: false }
    return { normalizer: null, pre_tokenizer: { type: 'Metaspace', ...first } }
  }
  const normalizers = [{ type: 'Prepend', prepend: SPACE }, replaced]
  return { normalizer: { type: 'Sequence', normalizers }, pre_tokenizer: null }
}

function startsWith(bos: string, ids: ReadonlyMap<string, number>): Json {
  return {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: bos, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [],
    special_tokens: { [bos]: { id: bos, ids: [ids.get(bos)], tokens: [bos] } },
  }
}

/** Two parts per merge; of one score the longer first part goes before. */
function mergesOf(pieces: readonly SentencePiece[], ids: ReadonlyMap<string, number>): [string, string][] {
  const merges = pieces.flatMap(({ text, score }) => {
    const characters = [...text]
    return characters.slice(1).flatMap((_, i) => {
      const first = characters.slice(0, i + 1).join('')
      const second = characters.slice(i + 1).join('')
      return ids.has(first) && ids.has(second) ? [{ first, second, score, length: i + 1 }] : []
    })
  })
  return merges
    .sort((a, b) => b.score - a.score || b.length - a.length)
    .map(({ first, second }) => [first, second])
}
