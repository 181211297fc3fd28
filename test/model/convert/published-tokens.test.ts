import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { binding } from '../../../lib/binding.js'
import { packageRoot } from '../../../lib/package.js'

// Oracle: the texts and ids that llama.cpp publishes beside its vocabulary-only GGUFs, made with Hugging Face's
// tokenizers. They travel with llama.cpp's source, which a build from source leaves in deps/.
const source = process.env.TRAITSCOPE_LLAMA_CPP ?? join(packageRoot, 'deps/llama.cpp')
const vocabularies = ['llama-bpe', 'llama-spm', 'qwen2', 'phi-3', 'gemma-4']
const fileOf = (name: string) => join(source, 'models', `ggml-vocab-${name}.gguf`)
const missing = vocabularies.filter((name) => !existsSync(`${fileOf(name)}.out`))
if (missing.length > 0)
  console.info(`skipped the vocabularies ${missing.join(', ')}: not in ${source}/models`)

const SEPARATOR = '\n__ggml_vocab_test__\n'

/** The published pairs of text and ids. The separator may also stand behind the last text. */
function publishedPairs(name: string): { texts: string[]; ids: number[][] } {
  const all = readFileSync(`${fileOf(name)}.inp`, 'utf8')
  const texts = (all.endsWith(SEPARATOR) ? all.slice(0, -SEPARATOR.length) : all).split(SEPARATOR)
  const lines = readFileSync(`${fileOf(name)}.out`, 'utf8')
    .replace(/\n$/, '')
    .split('\n')
  return { texts, ids: lines.map((line) => line.trim().split(/\s+/).filter(Boolean).map(Number)) }
}

describe.skipIf(missing.length > 0)('tokens of a published vocabulary', () => {
  it.each(vocabularies)('should equal the published ids of %s', async (name) => {
    const { texts, ids } = publishedPairs(name)
    expect(texts.length).toBeGreaterThan(40)
    const { CancelToken, Model } = binding()
    const model = new Model()
    const place = { blocks: 0, device: '', onDevice: 0, runsTo: 0, runsHead: true, repack: false }
    const load = { ...place, threads: 1, batchTokens: 256, mmap: true, f16Sums: true, vocabOnly: true }
    const info = await model.load({ path: fileOf(name), ...load }, new CancelToken())
    expect(info.hasVocab).toBe(true)
    const found = await model.tokenize(texts, false, false)
    await model.close()
    expect(texts.map((_, i) => [...found.ids.subarray(found.offsets[i], found.offsets[i + 1])])).toEqual(ids)
    console.info(`${name}: ${texts.length} texts, ${found.ids.length} ids, all equal`)
  })
})
