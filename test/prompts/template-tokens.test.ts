import { describe, expect, it } from 'vitest'
import { templateTokens } from '../../lib/prompts/template-tokens.js'

/** One token per character, BOS = 1 from the text `<s>` or, when asked and the vocabulary says so, by itself. */
function fakeTokenizer({ bos = '<s>' as string | null, addsBos = true } = {}) {
  const calls: { texts: readonly string[]; addSpecial: boolean; parseSpecial: boolean }[] = []
  return {
    calls,
    bosToken: bos === null ? undefined : { id: 1, text: bos },
    tokenize(texts: readonly string[], options: { addSpecial: boolean; parseSpecial: boolean }) {
      calls.push({ texts, ...options })
      return Promise.resolve(
        texts.map((text) => {
          const own = bos && text.startsWith(bos) ? [1] : []
          const rest = own.length > 0 ? text.slice(bos!.length) : text
          return Int32Array.from([
            ...(options.addSpecial && addsBos ? [1] : []),
            ...own,
            ...Array.from(rest, (char) => char.codePointAt(0)!),
          ])
        }),
      )
    },
  }
}

const tokens = (...ids: number[]) => Int32Array.from(ids)

describe('templateTokens', () => {
  it('should keep the BOS of the template the only one, in the original order', async () => {
    const tokenizer = fakeTokenizer()
    expect(await templateTokens(tokenizer, ['<s>a', 'b', '<s>c', 'd'])).toEqual([
      tokens(1, 97),
      tokens(1, 98),
      tokens(1, 99),
      tokens(1, 100),
    ])
    expect(tokenizer.calls).toEqual([
      { texts: ['<s>a', '<s>c'], addSpecial: false, parseSpecial: true },
      { texts: ['b', 'd'], addSpecial: true, parseSpecial: true },
    ])
  })

  it('should add no BOS that the vocabulary does not ask for', async () => {
    expect(await templateTokens(fakeTokenizer({ addsBos: false }), ['a'])).toEqual([tokens(97)])
  })

  it('should leave the decision to the tokenizer when there is no BOS token or its text is empty', async () => {
    for (const bos of [null, '']) {
      const tokenizer = fakeTokenizer({ bos, addsBos: false })
      expect(await templateTokens(tokenizer, ['a'])).toEqual([tokens(97)])
      expect(tokenizer.calls).toEqual([{ texts: ['a'], addSpecial: true, parseSpecial: true }])
    }
  })

  it('should tokenize nothing for no texts', async () => {
    const tokenizer = fakeTokenizer()
    expect(await templateTokens(tokenizer, [])).toEqual([])
    expect(tokenizer.calls).toEqual([])
  })
})
