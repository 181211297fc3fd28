import { baseRemarks } from '../model/base/base-remarks.js'
import type { Model } from '../model/model.js'

/**
 * What there is to know of a model that reads these prompts, in sentences: what its file says of itself, and where prompts
 * are not all read alike. Every command that opens a model passes them on.
 *
 * @param prompts token ids, as far as they are known
 */
export function readingRemarks(
  { gguf, limits: { longRope } }: Pick<Model, 'gguf' | 'limits'>,
  prompts: readonly { length: number }[] = [],
): string[] {
  const remarks = baseRemarks(gguf)
  if (!longRope) return remarks
  const long = prompts.filter(({ length }) => length > longRope.original).length
  if (long === 0) return remarks
  return [
    ...remarks,
    `${long} of ${prompts.length} prompts have more than ${longRope.original} tokens and rotate by this base's long factors (LongRoPE), as in transformers`,
  ]
}
