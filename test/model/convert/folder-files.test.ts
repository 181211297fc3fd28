import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convertModel } from '../../../lib/conversion/convert-model.js'
import { readGguf } from '../../../lib/formats/gguf/gguf.js'
import { changedFolder, type FolderChanges } from '../../helpers/convert-folder.js'

let scratch: string
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'traitscope-folder-'))
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

/** Converts a fixture's folder with further files in it; objects are written as JSON. */
async function convertWith(
  files: Record<string, string | object>,
  { family = 'mistral', ...changes }: FolderChanges & { family?: string } = {},
) {
  const folder = await changedFolder(scratch, family, changes)
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
  }
  const out = join(folder, '.out.gguf')
  const { remarks } = await convertModel(folder, out)
  return { remarks, metadata: (await readGguf(out)).metadata }
}

describe('files of a folder', () => {
  it.each([
    [['README.md', 'LICENSE', 'LICENSE.txt', 'USE_POLICY.md', '.gitattributes', 'figures/loss.png']],
    [['vocab.json', 'merges.txt', 'tekken.json', 'params.json', 'consolidated.safetensors']],
    [
      [
        'pytorch_model.bin',
        'pytorch_model-00001-of-00002.bin',
        'tf_model.h5',
        'original/consolidated.00.pth',
      ],
    ],
    [['trainer_state.json', 'training_args.bin', 'optimizer.pt', 'rng_state_0.pth', 'global_step8/x.pt']],
    [['preprocessor_config.json', 'processor_config.json', 'generation_config.json']],
  ])('should be known to change nothing: %j', async (names) => {
    const { remarks } = await convertWith(Object.fromEntries(names.map((name) => [name, '{}'])))
    expect(remarks).toEqual([])
  })

  it.each([
    [
      ['quantize_config.json', 'something.dat'],
      /known to be without effect: quantize_config\.json, something\.dat in /,
    ],
    [['a.x', 'b.x', 'c.x', 'd.x', 'e.x', 'f.x'], /: a\.x, b\.x, c\.x, d\.x, e\.x and 1 more in /],
    [['adapter_config.json'], /holds an adapter too \(adapter_config\.json\), which transformers would load/],
    [['modeling_mine.py'], /code in the folder is not run \(modeling_mine\.py\)/],
    [['model-00001-of-00002.safetensors'], /beside it is left over from another save/],
  ])('should be named where they were not read: %j', async (names, remark) => {
    const files = Object.fromEntries(names.map((name) => [name, '{}']))
    const { remarks } = await convertWith(files, { family: 'qwen2' })
    expect(remarks).toEqual([expect.stringMatching(remark)])
  })
})

describe('special_tokens_map.json', () => {
  const bos = (metadata: ReadonlyMap<string, unknown>) => metadata.get('tokenizer.ggml.bos_token_id')
  const map = { bos_token: { content: '</s>' } }

  it('should name tokens where tokenizer_config.json has no list of added ones, as in transformers', async () => {
    const tokenizerConfig = { added_tokens_decoder: undefined, add_bos_token: false }
    const without = await convertWith({}, { tokenizerConfig, tokenizer: { post_processor: null } })
    expect(bos(without.metadata)).toBe(1)
    const files = { 'special_tokens_map.json': map }
    const named = await convertWith(files, { tokenizerConfig, tokenizer: { post_processor: null } })
    expect(bos(named.metadata)).toBe(2)
  })

  it('should change nothing where it has one', async () => {
    const { metadata } = await convertWith({ 'special_tokens_map.json': map })
    expect(bos(metadata)).toBe(1)
  })
})

describe('generation_config.json', () => {
  it.each([
    [{ eos_token_id: 2 }, undefined],
    [
      { eos_token_id: [2, 7] },
      /ends answers at .* too, where llama\.cpp goes on: give it to generate as --stop/,
    ],
    [{ eos_token_id: null, temperature: 0.6 }, undefined],
  ])('should be compared with where llama.cpp ends answers: %j', async (config, remark) => {
    const { remarks } = await convertWith({ 'generation_config.json': config })
    expect(remarks).toEqual(remark === undefined ? [] : [expect.stringMatching(remark)])
  })
})

describe('chat templates', () => {
  const one = '{{ messages[0].content }}'
  const other = 'x{{ messages[0].content }}'
  const bare = { tokenizerConfig: { chat_template: undefined } }

  it('should be written under the names of additional_chat_templates, behind the default one', async () => {
    const { metadata, remarks } = await convertWith(
      {
        'chat_template.jinja': one,
        'additional_chat_templates/tool_use.jinja': other,
        'additional_chat_templates/notes.txt': 'no template',
      },
      bare,
    )
    expect(metadata.get('tokenizer.chat_template')).toBe(one)
    expect(metadata.get('tokenizer.chat_template.tool_use')).toBe(other)
    expect([...metadata.keys()].filter((key) => key.includes('chat_template'))).toHaveLength(2)
    expect(remarks).toEqual([])
  })

  it('should be that of chat_template.json only where the tokenizer has none, and say so', async () => {
    const legacy = { 'chat_template.json': { chat_template: other } }
    const alone = await convertWith(legacy, bare)
    expect(alone.metadata.get('tokenizer.chat_template')).toBe(other)
    expect(alone.remarks).toEqual([])
    const beside = await convertWith(legacy, { tokenizerConfig: { chat_template: one } })
    expect(beside.metadata.get('tokenizer.chat_template')).toBe(one)
    expect(beside.remarks).toEqual([expect.stringMatching(/another template in chat_template\.json/)])
  })
})
