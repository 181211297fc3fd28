import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The prompts as token ids, and which of them are run: all, or `limit` spread over them, as they are ordered by category. */
export function chosenOf(input, limit) {
  const prompts = JSON.parse(readFileSync(join(input, 'prompts.json'), 'utf8')).map((ids) =>
    Int32Array.from(ids),
  )
  const n = Math.min(limit ?? prompts.length, prompts.length)
  const chosen = Array.from({ length: n }, (_, i) =>
    n === 1 ? 0 : Math.round((i * (prompts.length - 1)) / (n - 1)),
  )
  return { prompts, chosen }
}
