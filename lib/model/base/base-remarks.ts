import { type GgufContents, GgufStrings } from '../../formats/gguf/gguf.js'

/** Keys that `convert` writes into a file for those who read numbers of it. */
export const IGNORED_KEYS = 'traitscope.ignored_keys'
export const UNPROVEN = 'traitscope.tokenizer.unproven'

/** What a converted base's own file says of its making that a reader of its numbers has to know, in sentences. */
export function baseRemarks({ metadata }: Pick<GgufContents, 'metadata'>): string[] {
  const keys = metadata.get(IGNORED_KEYS)
  const ignored = keys instanceof GgufStrings ? [...keys] : []
  const unproven = metadata.get(UNPROVEN)
  return [
    ...(ignored.length > 0
      ? [
          `this base was converted without ${ignored.join(', ')} of its folder, because its user said that it changes nothing (--ignore-key)`,
        ]
      : []),
    ...(typeof unproven === 'string'
      ? [`this base's token ids were never compared with Hugging Face's: ${unproven}`]
      : []),
  ]
}
