import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Model, openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'

// Oracle: the ids of Hugging Face's tokenizers (lab/oracles), plain and through the chat template.
const ORACLES = join(packageRoot, 'test/fixtures/oracles')

interface Golden {
  plain: { text: string; ids: number[]; idsWithSpecial: number[] }[]
  chat: { name: string; text: string; ids: number[] }[]
}

const models = readdirSync(ORACLES).filter((name) => existsSync(join(ORACLES, name, 'tokens.json')))

describe.each(models)('tokens of %s', (name) => {
  const golden: Golden = JSON.parse(readFileSync(join(ORACLES, name, 'tokens.json'), 'utf8'))
  let model: Model
  beforeAll(async () => {
    model = await openModel(join(ORACLES, name, 'model.gguf'))
  })
  afterAll(() => model?.close())

  it('should equal Hugging Face on plain text, with and without special tokens', async () => {
    const texts = golden.plain.map(({ text }) => text)
    const bare = await model.tokenize(texts, { addSpecial: false })
    expect(bare.map((ids) => [...ids])).toEqual(golden.plain.map(({ ids }) => ids))
    const special = await model.tokenize(texts, { addSpecial: true })
    expect(special.map((ids) => [...ids])).toEqual(golden.plain.map(({ idsWithSpecial }) => idsWithSpecial))
  })

  it('should refuse half of a surrogate pair, which would become another character', async () => {
    expect(await model.tokenize(['a \u{1f600}'])).toHaveLength(1)
    await expect(model.tokenize(['a', 'b \ud83d'])).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/half a surrogate pair in "b \\ud83d"/),
    })
  })

  it('should equal Hugging Face on rendered conversations', async () => {
    const ids = await model.tokenize(
      golden.chat.map(({ text }) => text),
      { addSpecial: false },
    )
    expect(ids.map((each) => [...each])).toEqual(golden.chat.map((each) => each.ids))
  })
})
