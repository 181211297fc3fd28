import { join } from 'node:path'
import { shown } from '../../formats/json/json-scan.js'
import { readOptional } from './optional-json.js'

/** Tokens that llama.cpp ends answers at, whatever a file says; its own list. */
const ENDS =
  /^(<\|(eot_id|im_end|end|return|call|flush|calls|endoftext|eom_id|end_of_text|tool_response)(\|)?>|<end_of_turn>|<\/s>|_?<EOT>|\[EO[TS]\]|<end_of_utterance>|<eos>|<turn\|>|<｜end▁of▁sentence｜>)$/

/**
 * A sentence where answers go on that transformers ends: it goes by generation_config.json. States know nothing of it.
 *
 * @param own the EOS token
 */
export async function endRemarks(
  folder: string,
  tokens: readonly string[],
  own: string | undefined,
): Promise<string[]> {
  const stated = (await readOptional(join(folder, 'generation_config.json')))?.eos_token_id
  const others = [stated]
    .flat()
    .map((id) => tokens[id as number])
    .filter((text) => text !== undefined && text !== own && !ENDS.test(text))
  if (others.length === 0) return []
  return [
    `generation_config.json ends answers at ${others.map(shown).join(', ')} too, where llama.cpp goes on: give it to generate as --stop`,
  ]
}
