import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convertModel } from '../../lib/conversion/convert-model.js'
import { proveTokenizer } from '../../lib/conversion/tokenizer-proof.js'
import { readGguf } from '../../lib/formats/gguf/gguf.js'
import { storedMetadata } from '../../lib/formats/gguf/gguf-stream.js'
import { encodeFloats } from '../../lib/formats/safetensors/float-types.js'
import { readSafetensorsHeader } from '../../lib/formats/safetensors/safetensors.js'
import { baseRemarks } from '../../lib/model/base/base-remarks.js'
import { openModel } from '../../lib/model/model.js'
import { openVocabulary } from '../../lib/model/vocabulary.js'
import { CONVERT_FIXTURES, changedFolder } from '../helpers/convert-folder.js'

let scratch: string
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'traitscope-proof-'))
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

// Made by lab/convert_variants.py with the tokenizers library that transformers uses.
interface Variant {
  name: string
  folder: string
  tokenizer: Record<string, unknown>
  texts: string[]
  ids: number[][]
}
const variants: Variant[] = JSON.parse(
  await readFile(join(CONVERT_FIXTURES, 'variants/tokenizers.json'), 'utf8'),
)

describe('the parts of a tokenizer.json', () => {
  it.each(variants)(
    'should give the ids of tokenizers with $name',
    async ({ folder, tokenizer, texts, ids }) => {
      const source = await changedFolder(scratch, folder, { tokenizer })
      const out = join(source, 'out.gguf')
      const { compared } = await convertModel(source, out)
      expect(compared.texts).toBeGreaterThan(40)
      await using model = await openModel(out)
      const found = await model.tokenize(texts, { addSpecial: false })
      expect(found.map((each) => [...each])).toEqual(ids)
    },
  )
})

describe('convertModel', () => {
  it('should find added tokens in tokenizer.json where the configuration has no list, as transformers 5 writes', async () => {
    const types = async (tokenizerConfig: Record<string, unknown>) => {
      const source = await changedFolder(scratch, 'mistral', { tokenizerConfig })
      await convertModel(source, join(source, 'out.gguf'))
      return (await readGguf(join(source, 'out.gguf'))).metadata.get('tokenizer.ggml.token_type')
    }
    expect(await types({ added_tokens_decoder: undefined })).toEqual(await types({}))
  })

  it('should compare texts, special tokens and rendered conversations', async () => {
    const source = await changedFolder(scratch, 'qwen2', {})
    const { compared, remarks } = await convertModel(source, join(source, 'out.gguf'))
    expect(compared.texts).toBeGreaterThan(40)
    expect(compared.ids).toBeGreaterThan(1000)
    expect(remarks).toEqual([])
  })

  it('should refuse a vocabulary whose merges were changed behind tokenizer.model', async () => {
    const { model } = JSON.parse(await readFile(join(CONVERT_FIXTURES, 'mistral/hf/tokenizer.json'), 'utf8'))
    const tokenizer = { model: { ...model, merges: model.merges.slice(0, 10) } }
    const source = await changedFolder(scratch, 'mistral', { tokenizer })
    await expect(convertModel(source, join(source, 'out.gguf'))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/would not give the ids of Hugging Face's for ".*from token \d+ on/),
    })
    expect((await readdir(source)).filter((name) => name.includes('out.gguf'))).toEqual([])
  })

  it.each([
    [
      'a template that refuses',
      { tokenizerConfig: { chat_template: '{{ raise_exception("no") }}' } },
      /conversation were not compared: /,
    ],
    [
      'a BOS that only a flag asks for',
      { tokenizer: { post_processor: null } },
      /add_bos_token true, against the post_processor/,
    ],
    [
      'flags against the pre-tokenizer',
      { tokenizerConfig: { legacy: false } },
      /before every part, .* before the first part/,
    ],
  ])('should say what was not compared or differs: %s', async (_, changes, remark) => {
    const source = await changedFolder(scratch, 'mistral', changes)
    const { remarks } = await convertModel(source, join(source, 'out.gguf'))
    expect(remarks.join('\n')).toMatch(remark)
  })

  it.each([
    ['mistral', {}],
    ['mistral', { legacy: false }],
    ['mistral', { add_prefix_space: false }],
    ['gemma2', {}],
    ['gemma3', {}],
    ['phi3', {}],
  ])(
    'should prove a tokenizer.model of %s that has no tokenizer.json beside it, with %j',
    async (family, tokenizerConfig) => {
      const remove = ['tokenizer.json']
      const source = await changedFolder(scratch, family, { tokenizerConfig, remove })
      const out = join(source, 'out.gguf')
      const { compared, remarks } = await convertModel(source, out)
      expect(compared.texts).toBeGreaterThan(40)
      expect(remarks.join('\n')).toMatch(
        /no tokenizer\.json: token ids were compared with .* from tokenizer\.model/,
      )
      expect(baseRemarks(await readGguf(out))).toEqual([])
    },
  )

  it('should keep in the file why a tokenizer is unproven', async () => {
    const source = await changedFolder(scratch, 'mistral', {})
    const out = join(source, 'out.gguf')
    await convertModel(source, out)
    await using vocabulary = await openVocabulary(storedMetadata(await readGguf(out)))
    class Tokenizer {
      constructor() {
        throw new Error('unknown part')
      }
      encode() {
        return { ids: [] }
      }
    }
    const about = { architecture: 'llama', template: undefined }
    const proof = await proveTokenizer(source, vocabulary, about, async () => ({ Tokenizer }))
    expect(proof).toMatchObject({ texts: 0, unproven: expect.stringMatching(/cannot read .*: unknown part/) })
  })

  it('should say that the comparison needs a package', async () => {
    const source = await changedFolder(scratch, 'qwen2', {})
    const out = join(source, 'out.gguf')
    await convertModel(source, out)
    await using vocabulary = await openVocabulary(storedMetadata(await readGguf(out)))
    const missing = () => Promise.reject(Object.assign(new Error('no'), { code: 'ERR_MODULE_NOT_FOUND' }))
    const { remarks, ...counts } = await proveTokenizer(
      source,
      vocabulary,
      { architecture: 'qwen2', template: undefined },
      missing,
    )
    expect(counts).toEqual({ texts: 0, ids: 0 })
    expect(remarks.join()).toMatch(/@huggingface\/tokenizers is not installed/)
  })

  // Found by fuzzing: llama.cpp asserts that tokens differ, and looks bytes up that a damaged vocabulary lacks.
  it.each([['two tokens of one text', 'mistral', 'FILE_INVALID']] as const)(
    'should refuse %s where llama.cpp would end the process',
    async (_, folder, code) => {
      const source = await changedFolder(scratch, folder, {})
      const path = join(source, 'tokenizer.model')
      const pieces = await readFile(path)
      // The first pieces stand there twice.
      await writeFile(path, Buffer.concat([pieces.subarray(0, firstPieces(pieces)), pieces]))
      await expect(convertModel(source, join(source, 'out.gguf'))).rejects.toMatchObject({ code })
    },
  )

  it('should keep no file whose states are not finite', async () => {
    const source = await changedFolder(scratch, 'llama', {})
    const path = join(source, 'model.safetensors')
    const header = await readSafetensorsHeader(path)
    const bytes = await readFile(path)
    // Two large factors one after the other.
    for (const name of ['model.layers.0.mlp.down_proj.weight', 'model.layers.0.mlp.up_proj.weight']) {
      const { begin, end } = header.tensors.get(name)!
      const values = new Float32Array((end - begin) / 2).fill(1e38)
      bytes.set(encodeFloats('BF16', values), header.dataStart + begin)
    }
    await writeFile(path, bytes)
    await expect(convertModel(source, join(source, 'out.gguf'))).rejects.toMatchObject({
      code: 'COMPUTE',
      message: expect.stringMatching(/^the converted file was not kept: .*not finite/),
    })
    expect((await readdir(source)).filter((name) => name.includes('out.gguf'))).toEqual([])
  })

  it.each([
    ['phi4', 'my-phi3-tune', 'my-Phi 3-tune'],
    ['phi3', 'my-tune', 'Phi-3 my-tune'],
  ])('should give %s in the folder %s a name that llama.cpp can open', async (family, folder, name) => {
    const parent = await mkdtemp(join(scratch, 'names-'))
    await rename(await changedFolder(parent, family, {}), join(parent, folder))
    const out = join(parent, 'out.gguf')
    await convertModel(join(parent, folder), out)
    await using model = await openModel(out)
    expect(model.info.name).toBe(name)
  })

  it('should refuse a name that llama.cpp would take for another tokenizer', async () => {
    for (const [folder, name] of [
      ['phi4', 'my Phi-3'],
      ['phi3', 'my model'],
    ] as const) {
      const source = await changedFolder(scratch, folder, {})
      await expect(convertModel(source, join(source, 'out.gguf'), { name })).rejects.toMatchObject({
        code: 'USAGE',
      })
    }
  })
})

/** Bytes of the first three pieces of a sentencepiece model: each is a tag, a length below 128 and as many bytes. */
function firstPieces(model: Buffer): number {
  let at = 0
  for (let piece = 0; piece < 3; piece++) at += 2 + model[at + 1]!
  return at
}
