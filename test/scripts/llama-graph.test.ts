import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { LLAMA_CPP_VERSION } from '../../lib/binding.js'
import { convertModel } from '../../lib/conversion/convert-model.js'
import { readGguf } from '../../lib/formats/gguf/gguf.js'
import { SUPPORTED_ARCHITECTURES } from '../../lib/model/base/architectures.js'
import { HF_CLASSES } from '../../lib/model/convert/hf-classes.js'
import { YARN_BETAS } from '../../lib/model/convert/hf-rotation.js'
import { WINDOW_PERIODS } from '../../lib/model/convert/hf-window.js'
import { PRE_TOKENIZERS } from '../../lib/model/convert/pre-tokenizers.js'
import { PROMOTED_TOKENS } from '../../lib/model/prompt-tokenizer.js'
// @ts-expect-error a script without types
import * as script from '../../scripts/llama-graph.mjs'
import { changedFolder } from '../helpers/convert-folder.js'

interface Graph {
  keys: string[]
  fixed: string[]
  tensors: string[]
  activations: string[]
  attention: string[]
  settings: string[]
}
const table: {
  version: string
  all: {
    keys: string[]
    defaults: string[]
    tokenizerKeys: string[]
    splittingRules: string[]
    longFactors: string
    promotedTokens: string[]
  }
  architectures: Record<string, Graph>
} = JSON.parse(await readFile(script.TABLE, 'utf8'))
const converted = [...new Set(Object.values(HF_CLASSES).map(({ architecture }) => architecture))]

if (!script.hasSource()) console.info(`skipped reading llama.cpp: no source in ${script.sourceFolder}`)

let scratch: string
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'traitscope-graph-'))
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

describe('the table of what llama.cpp reads', () => {
  it.skipIf(!script.hasSource())('should be that of the pinned source', () => {
    expect(table).toEqual(script.readGraphs())
  })

  it('should be of the release that the addon is built from, and of every architecture', () => {
    expect(table.version).toBe(LLAMA_CPP_VERSION)
    expect(Object.keys(table.architectures)).toEqual(SUPPORTED_ARCHITECTURES)
  })

  it.each(converted)('should hold what the converter takes for granted of %s', (architecture) => {
    const { keys, fixed, activations, attention } = table.architectures[architecture]!
    const gemma = architecture.startsWith('gemma')
    // A setting that can be stated is to be mapped, not refused: these tell when llama.cpp learns one.
    expect(activations.filter((name) => name !== 'LLM_FFN_SWIGLU')).toEqual([
      gemma ? 'LLM_FFN_GELU' : 'LLM_FFN_SILU',
    ])
    expect(keys.filter((key) => key.includes('.yarn_'))).toEqual([])
    const period = WINDOW_PERIODS[architecture]
    const swa = fixed.filter((what) => what.startsWith('load_swa_pattern'))
    expect(swa).toEqual(period === undefined ? [] : [`load_swa_pattern(ml, ${period})`])
    // Phi-3 reads the key and then has no window.
    const windows = fixed.includes('hparams.swa_type = LLAMA_SWA_TYPE_STANDARD')
    expect(windows).toBe(period !== undefined)
    expect(attention.some((what) => what.endsWith('_iswa'))).toBe(windows || architecture === 'phi3')
  })

  it('should hold the defaults that the converter counts on', () => {
    const value = (name: string) => table.all.defaults.find((each) => each.startsWith(`${name} = `))
    expect(value('yarn_beta_fast')).toBe(`yarn_beta_fast = ${YARN_BETAS.beta_fast}.0f`)
    expect(value('yarn_beta_slow')).toBe(`yarn_beta_slow = ${YARN_BETAS.beta_slow}.0f`)
    expect(value('rope_freq_scale_train_swa')).toBe('rope_freq_scale_train_swa = 1.0f')
    expect(table.all.splittingRules).toEqual(expect.arrayContaining([...PRE_TOKENIZERS]))
    expect(table.all.promotedTokens).toEqual([...PROMOTED_TOKENS].sort())
    // The long factors go by the context, not by the prompt.
    expect(table.all.longFactors).toContain('n_ctx_seq > hparams.n_ctx_orig_yarn')
  })

  it.each<[folder: string, config: Record<string, unknown>]>([
    ['llama', {}],
    ['llama', { rope_parameters: { rope_type: 'yarn', factor: 2, rope_theta: 1e4, attention_factor: 1 } }],
    ['mistral', { sliding_window: 64 }],
    ['qwen2', { use_sliding_window: true, sliding_window: 16, max_window_layers: 1, layer_types: null }],
    ['qwen3', {}],
    ['gemma2', { layer_types: ['full', 'full', 'sliding', 'full'].map((kind) => `${kind}_attention`) }],
    ['gemma3', { final_logit_softcapping: 30 }],
    ['phi3', {}],
  ])('should hold every key that %s is written with: %j', async (folder, config) => {
    const source = await changedFolder(scratch, folder, { config })
    await convertModel(source, join(source, 'out.gguf'))
    const { metadata, tensors } = await readGguf(join(source, 'out.gguf'))
    const architecture = String(metadata.get('general.architecture'))
    const graph = table.architectures[architecture]!
    const read = [...table.all.keys, ...table.all.tokenizerKeys, ...graph.keys].map((key) =>
      key.replace('%s', architecture),
    )
    // For readers and for ourselves; a window that the graph lacks bounds prompts.
    const others = /^(general\.|traitscope\.|tokenizer\.chat_template)/
    const ours =
      WINDOW_PERIODS[architecture] === undefined ? [`${architecture}.attention.sliding_window`] : []
    const unread = [...metadata.keys()].filter(
      (key) => !others.test(key) && ![...read, ...ours].includes(key),
    )
    expect(unread).toEqual([])
    const names = new Set([...tensors.keys()].map((name) => name.replace(/^blk\.\d+\./, 'blk.%d.')))
    expect([...names].filter((name) => !graph.tensors.includes(name))).toEqual([])
  })
})
