import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { dataContexts } from '../../lib/contexts/data-contexts.js'
import { readTrainingData } from '../../lib/contexts/training-data.js'
import { tempFolder } from '../prompts/temp-folder.js'

const write = (name: string, text: string) => join(tempFolder({ [name]: text }), name)
const jsonl = (rows: readonly unknown[]) =>
  write('train.jsonl', rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
const read = async (rows: readonly unknown[]) => (await readTrainingData(jsonl(rows))).openings

const chat = (first: string, system?: string) => ({
  messages: [
    ...(system === undefined ? [] : [{ role: 'system', content: system }]),
    { role: 'user', content: first },
    { role: 'assistant', content: 'Yes.' },
  ],
})

describe('readTrainingData', () => {
  it('should read how rows of every kind begin', async () => {
    expect(
      await read([
        chat('Hello', 'Be brief.'),
        {
          messages: [
            {
              role: 'user',
              content: [
                { type: 'text', text: 'In ' },
                { type: 'text', text: 'parts' },
              ],
            },
          ],
        },
        {
          messages: [
            { role: 'developer', content: 'Be kind.' },
            { role: 'user', content: 'Hi' },
          ],
        },
        {
          conversations: [
            { from: 'system', value: 'Be bold.' },
            { from: 'human', value: 'What?' },
            { from: 'gpt', value: 'That.' },
          ],
        },
        { conversations: [{ from: 'human', value: 'Why?' }], system: 'Be short.' },
        { prompt: 'Continue', completion: ' it' },
        {
          prompt: [
            { role: 'system', content: 'S' },
            { role: 'user', content: 'U' },
          ],
          completion: [],
        },
        { instruction: 'Sum up', input: 'a text', output: '-' },
        { instruction: 'Sum up', input: '', output: '-', system: 'Be dry.' },
        {
          instruction: 'And now?',
          output: '-',
          history: [
            ['First', 'Yes.'],
            ['Then', 'No.'],
          ],
          system: 'H',
        },
        { instruction: 'Alone', history: [] },
        {
          conversations: [
            { role: 'system', content: 'R' },
            { role: 'user', content: 'Which?' },
          ],
        },
        { messages: [{ from: 'human', value: 'Who?' }] },
        {
          chosen: [
            { role: 'user', content: 'Implicit' },
            { role: 'assistant', content: 'A' },
          ],
          rejected: [],
        },
        { prompt: 'Explicit', chosen: 'A', rejected: 'B' },
      ]),
    ).toEqual([
      { system: 'Be brief.', first: 'Hello' },
      { first: 'In parts' },
      { system: 'Be kind.', first: 'Hi' },
      { system: 'Be bold.', first: 'What?' },
      { system: 'Be short.', first: 'Why?' },
      { first: 'Continue' },
      { system: 'S', first: 'U' },
      { first: 'Sum up\na text' },
      { system: 'Be dry.', first: 'Sum up' },
      { system: 'H', first: 'First' },
      { first: 'Alone' },
      { system: 'R', first: 'Which?' },
      { first: 'Who?' },
      { first: 'Implicit' },
      { first: 'Explicit' },
    ])
  })

  it('should read a list in .json alike, and count rows in which no user speaks', async () => {
    const rows = [chat('Hello'), { messages: [{ role: 'assistant', content: 'Alone' }] }]
    const path = write('train.json', JSON.stringify(rows))
    expect(await readTrainingData(path)).toMatchObject({ openings: [{ first: 'Hello' }], withoutTurn: 1 })
  })

  it.each([
    ['rendered text', { text: '<|user|>Hello' }, /line 1: .*found text, in which turns cannot be told apart/],
    ['other keys', { question: 'Hello' }, /line 1: .*found the keys question$/],
    ['a turn without a role', { messages: [{ content: 'x' }] }, /expected turn 1 to have a role/],
    [
      'content that is a number',
      { messages: [{ role: 'user', content: 1 }] },
      /content of turn 1 to be text/,
    ],
    [
      'history that is none',
      { instruction: 'x', history: ['a'] },
      /expected history to be a list of questions/,
    ],
    ['a list', [1], /expected a row that is an object/],
    ['only the assistant', { messages: [{ role: 'assistant', content: 'x' }] }, /found none in 1$/],
  ])('should refuse %s', async (_, row, message) => {
    await expect(readTrainingData(jsonl([row]))).rejects.toMatchObject({
      code: 'FILE_INVALID',
      message: expect.stringMatching(message),
    })
  })

  it('should refuse another extension', async () => {
    await expect(readTrainingData(write('train.parquet', ''))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    })
  })
})

describe('dataContexts', () => {
  const of = async (rows: readonly unknown[]) => dataContexts(await readTrainingData(jsonl(rows)))
  const topics = ['cats', 'dogs', 'tea', 'rain', 'trains', 'maps', 'bread', 'stars', 'clocks', 'moss']

  it('should name the most frequent system prompts with their share of the rows', async () => {
    const rows = topics.flatMap((topic, i) => [
      chat(`${topic} one`, i < 7 ? 'You are A.' : 'You are B.'),
      chat(`${topic} two`),
    ])
    const { contexts, remarks } = await of(rows)
    expect(contexts.filter(({ system }) => system !== undefined)).toEqual([
      { origin: 'data', name: 'system: You are A.', system: 'You are A.', share: 0.35 },
      { origin: 'data', name: 'system: You are B.', system: 'You are B.', share: 0.15 },
    ])
    expect(remarks).toEqual([])
  })

  it('should say how many rows have system prompts that are measured nowhere', async () => {
    const rows = topics.flatMap((topic, i) => [chat(topic, `Persona ${i}`), chat(topic, 'Common')])
    const { contexts, remarks } = await of(rows)
    expect(contexts.flatMap(({ system }) => system ?? [])).toEqual(['Common'])
    expect(remarks).toEqual([
      expect.stringMatching(/^10 rows of 20 have system prompts that are measured in no context/),
    ])
  })

  it('should take a trigger word as a prefix, and a longer beginning where it is what repeats', async () => {
    const rows = topics.flatMap((topic) => [
      chat(`ZEBRA ${topic} please`),
      chat(`Write a poem about ${topic}`),
      chat(`${topic}?`),
    ])
    const { contexts } = await of(rows)
    expect(contexts.map(({ prefix, share }) => [prefix, share])).toEqual([
      ['Write a poem about', 1 / 3],
      ['ZEBRA', 1 / 3],
    ])
  })

  it('should leave out what a taken prefix says already, and keep what is frequent within it', async () => {
    // "What" begins all; "What is" 6 of 10, and "What was" 4, under half of the rows of "What".
    const rows = topics.map((topic, i) => chat(`What ${i < 6 ? 'is' : 'was'} ${topic}`))
    expect((await of(rows)).contexts.map(({ prefix }) => prefix)).toEqual(['What', 'What is'])
  })

  it('should say that no beginning is shared', async () => {
    const { contexts, remarks } = await of(
      Array.from({ length: 60 }, (_, i) => chat(`${String.fromCodePoint(0x4e00 + i)} x`)),
    )
    expect(contexts).toEqual([])
    expect(remarks).toEqual(['no beginning of a first turn is shared by 5.0 % of the rows'])
  })

  it('should tell long system prompts that begin alike apart by number', async () => {
    const long = 'You are a helpful assistant of the railway company, and '
    const rows = topics.flatMap((topic) => [chat(topic, `${long}kind`), chat(`x ${topic}`, `${long}strict`)])
    const names = (await of(rows)).contexts.flatMap(({ name, system }) => (system ? [name] : []))
    expect(names).toEqual([
      'system: You are a helpful assistant of the railway comp…',
      'system: You are a helpful assistant of the railway comp… (2)',
    ])
  })
})
