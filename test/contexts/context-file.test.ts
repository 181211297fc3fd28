import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { inContext } from '../../lib/contexts/context.js'
import { readContextFile } from '../../lib/contexts/context-file.js'
import { tempFolder } from '../prompts/temp-folder.js'

const read = async (name: string, text: string) =>
  (await readContextFile(join(tempFolder({ [name]: text }), name))).contexts

describe('readContextFile', () => {
  const terse = { origin: 'given', name: 'system: Be terse.', system: 'Be terse.' }

  it('should read system prompts a line', async () => {
    expect(await read('c.txt', 'Be terse.\n\n  Be loud.\r\n')).toEqual([
      terse,
      { origin: 'given', name: 'system: Be loud.', system: '  Be loud.' },
    ])
  })

  it('should read texts and objects from JSON lines and lists', async () => {
    const entries = [
      'Be terse.',
      { name: 'deployed', system: 'Be safe.', prefix: 'Q: ' },
      { prefix: 'Listen:' },
    ]
    const expected = [
      terse,
      { origin: 'given', name: 'deployed', system: 'Be safe.', prefix: 'Q: ' },
      { origin: 'given', name: 'prefix: Listen:', prefix: 'Listen:' },
    ]
    expect(await read('c.json', JSON.stringify(entries))).toEqual(expected)
    expect(await read('c.jsonl', entries.map((one) => `${JSON.stringify(one)}\n`).join(''))).toEqual(expected)
  })

  it.each([
    ['an empty file', 'c.txt', '\n', 'FILE_INVALID', /at least one context/],
    ['no list', 'c.json', '{}', 'FILE_INVALID', /expected a list of contexts/],
    [
      'neither system nor prefix',
      'c.json',
      '[{"name": "x"}]',
      'FILE_INVALID',
      /entry 1: expected system, prefix/,
    ],
    ['an empty system prompt', 'c.json', '["a", " "]', 'FILE_INVALID', /entry 2: expected a text/],
    ['an empty prefix', 'c.jsonl', '{"prefix": ""}', 'FILE_INVALID', /line 1: expected prefix to be text/],
    [
      'an unknown key',
      'c.jsonl',
      '{"sytem": "x"}',
      'FILE_INVALID',
      /line 1: expected the keys .* found sytem$/,
    ],
    [
      'a chat',
      'c.jsonl',
      '{"messages": []}',
      'FILE_INVALID',
      /found messages; training data are given with --data/,
    ],
    ['the same twice', 'c.txt', 'a\nb\na\n', 'FILE_INVALID', /line 3: .*found that of .*line 1 again/],
    [
      'a name twice',
      'c.json',
      '[{"name": "n", "system": "a"}, {"name": "n", "system": "b"}]',
      'FILE_INVALID',
      /entry 2: /,
    ],
    ['another extension', 'c.yaml', 'a', 'UNSUPPORTED', /\.txt, \.json or \.jsonl/],
  ])('should refuse %s', async (_, name, text, code, message) => {
    await expect(read(name, text)).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
  })
})

describe('inContext', () => {
  const asked = [{ role: 'user' as const, content: 'Why?' }]

  it('should put the system prompt first and the prefix before the words of the first turn', () => {
    expect(inContext(asked, { system: 'S', prefix: 'P' })).toEqual([
      { role: 'system', content: 'S' },
      { role: 'user', content: 'P Why?' },
    ])
  })

  it('should join a prefix that ends in white space as it is', () => {
    expect(inContext(asked, { prefix: 'Q:\n' })).toEqual([{ role: 'user', content: 'Q:\nWhy?' }])
  })
})
