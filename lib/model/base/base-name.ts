import { basename } from 'node:path'
import type { GgufContents } from '../../formats/gguf/gguf.js'
import { quoted } from '../../formats/json/json-scan.js'
import type { PeftAdapter } from '../../formats/peft/peft.js'

/** Words that say how weights are stored, or who packed them, and not which model they are. */
const STORAGE =
  /^(gguf|unsloth|bnb|awq|gptq|mlx|hf|meta|dynamic|quantized|nf4|fp?(8|16|32)|bf16|int[48]|[248]bit|bit|i?q\d\w*|[kms]|\d+of\d+)$/

/**
 * A sentence when the base that an adapter names is not the one it is put on, or when that cannot be told: an adapter of
 * the pre-trained model fits the instruction-tuned one of the same shape without complaint. Names are compared
 * loosely, by their last part, without case, separators and words on storage.
 *
 * @param named `base_model_name_or_path`, or what else a checkpoint says it was trained from
 */
export function baseNameRemark(named: string | undefined, base: GgufContents): string | undefined {
  const own = base.metadata.get('general.name')
  const name = typeof own === 'string' && own.trim() !== '' ? own : basename(base.path, '.gguf')
  if (named === undefined || named.trim() === '') {
    return `the checkpoint does not name its base, and this one is called ${quoted(name)}: make sure that it was trained on it, since on another one its drift means nothing`
  }
  if (plainName(named) === plainName(name)) return undefined
  return `the checkpoint names ${quoted(named)} as its base, and this one is called ${quoted(name)}: make sure that it is the same model, since on another one its drift means nothing`
}

/** What there is to say of an adapter on this base, in sentences. */
export function adapterRemarks({ config, remarks }: PeftAdapter, base: GgufContents): string[] {
  const other = baseNameRemark(config.baseModel, base)
  return other === undefined ? [...remarks] : [...remarks, other]
}

/** `/cache/models--Qwen--Qwen2.5-7B-Instruct/snapshots/ab12` and `Qwen2.5 7B Instruct` are `qwen2.57binstruct`. */
function plainName(name: string): string {
  const cached = /models--.+?--([^/\\]+)/.exec(name)?.[1]
  const last = cached ?? name.split(/[/\\]/).findLast((part) => part !== '') ?? ''
  const words = last
    .toLowerCase()
    .split(/[^a-z0-9.]+/)
    .filter((word) => word !== '')
  const kept = words.filter((word) => !STORAGE.test(word))
  return (kept.length > 0 ? kept : words).join('')
}
