import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type FirstLook, firstLook } from '../../lib/first-look/first-look.js'
import { readGguf } from '../../lib/formats/gguf/gguf.js'
import { storedMetadata, tensorBytes, writeGgufStream } from '../../lib/formats/gguf/gguf-stream.js'
import { openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'
import { loadTraitPack } from '../../lib/prompts/trait-pack.js'

const model = await openModel(join(packageRoot, 'organisms/models/gemma2/base.gguf'), {
  gpuLayers: 0,
  threads: 1,
})
const whole = await loadTraitPack(join(packageRoot, 'organisms/traits.yaml'))
const pack = { ...whole, questions: whole.questions.slice(0, 8) }
let all: FirstLook
afterAll(() => model.close())

describe('firstLook', () => {
  it('should read all there is where the time allows it, and tell what everything is worth', async () => {
    const said: string[] = []
    all = await firstLook(model, {
      pack,
      onProgress: (what) => {
        if (said.at(-1) !== what) said.push(what)
      },
    })
    expect(said).toEqual([
      'how fast the model is read',
      'directions',
      'step 0, noise floor and swapping adapters',
      'steering',
    ])
    expect(all.share.questions).toBe(pack.questions.length)
    expect(all.share.tokens).toBe(all.share.ofTokens)
    expect(all.diagnostics.map(({ layer }) => layer)).toEqual(all.layers)
    // Trained in a world of its own: there its directions hold up.
    expect(all.summary.at(-1)).toMatch(/^usable at every layer: (?!no trait)/)
    expect(all.layers).toContain(all.bestLayer)
    expect(all.steering.layer).toBeGreaterThan(0)
    expect(all.steering.positive.text).not.toBe(all.steering.negative.text)
    expect(all.checkpoint).toMatchObject({
      prompts: pack.evalPrompts.flatMap(({ prompts }) => prompts).length,
    })
    expect(all.checkpoint.seconds).toBeGreaterThan(0)
  })

  it('should read fewer questions where time is short, spread over all of them', async () => {
    // As if this model took a little more than the time for all of them.
    const look = await firstLook(model, { pack, pace: all.share.ofTokens / 90 })
    expect(look.share.questions).toBeLessThan(pack.questions.length)
    expect(look.share.questions).toBeGreaterThanOrEqual(4)
    expect(look.share.tokens).toBeLessThan(look.share.ofTokens)
  })

  it('should refuse where not even the fewest questions fit, and say how long they take', async () => {
    await expect(firstLook(model, { pack, minutes: 1e-4, pace: 12_345 })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(
        /^expected enough time for 4 questions, .*: about [\d.]+ minutes for this model here \(12300 tokens\/s\), found 0\.0001; give --minutes/,
      ),
    })
  })

  it('should read passages where a base has no template', async () => {
    const base = await readGguf(model.path)
    const folder = mkdtempSync(join(tmpdir(), 'traitscope-first-look-'))
    afterAll(() => rmSync(folder, { recursive: true }))
    const path = join(folder, 'bare.gguf')
    const tensors = [...base.tensors.values()].map((tensor) => ({
      ...tensor,
      chunks: () => tensorBytes(base, tensor, 0, tensor.byteLength),
    }))
    const metadata = storedMetadata(base).filter(([key]) => key !== 'tokenizer.chat_template')
    await writeGgufStream(path, metadata, tensors)
    await using bare = await openModel(path, { gpuLayers: 0, threads: 1 })
    const core = await loadTraitPack('core')
    const few = { ...core, evalPrompts: core.evalPrompts.slice(0, 1) }
    const look = await firstLook(bare, { pack: few, pace: 180 })
    expect([look.read, look.share.ofQuestions]).toEqual(['openers', 20])
    expect(look.share.questions).toBeLessThan(20)
    const told = await firstLook(bare, {
      pack,
      pace: all.share.ofTokens / 90,
      template: ChatTemplate.plain(bare),
    })
    expect(told.read).toBe('questions')
  })
})
