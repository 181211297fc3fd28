import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { TINY_RUN } from '../helpers/tiny.js'
import { MODEL, Workspace } from './workspace.js'

const work = new Workspace()
const ADAPTER = join(TINY_RUN, 'checkpoint-60')
const QUESTIONS = ['The tap drips.', 'Is a copy of the files enough?', 'Name one star.']
const text = work.write('questions.txt', `${QUESTIONS.join('\n')}\n\n`)

interface Line {
  index: number
  draw: number
  prompt?: string
  messages?: object[]
  answer: string
  finish: string
  tokens: number
}

const generate = (...args: string[]) => work.run(['generate', ...MODEL, ...args])
const parse = (jsonl: string): Line[] => {
  expect(jsonl.endsWith('\n')).toBe(true)
  return jsonl
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
}

describe('traitscope generate', () => {
  it('should print a line per prompt, and say what it took on stderr', async () => {
    const { code, stdout, stderr } = await generate('-p', text, '-n', '30')
    expect(code).toBe(0)
    const lines = parse(stdout)
    expect(lines.map(({ prompt }) => prompt)).toEqual(QUESTIONS)
    expect(lines.every(({ answer, draw }) => answer.length > 20 && draw === 0)).toBe(true)
    expect(stderr).toMatch(/key\/value memory: 3 sequences at once of up to 256 tokens, \d+ MiB/)
    expect(stderr).toMatch(/3 answers \(.*cut at --max-tokens.*\), \d+ tokens in [\d.]+ s, [\d.]+ tokens\/s/)
  })

  it('should draw the same answers again, in any order, from text and messages, into a file', async () => {
    const sampling = ['--temperature', '1', '--draws', '3', '--seed', '5', '-n', '20']
    const { code, stdout } = await generate('-p', text, ...sampling, '-o', 'answers.jsonl')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^answers.jsonl: 9 answers \(/)
    const lines = parse(readFileSync(work.path('answers.jsonl'), 'utf8'))
    expect(lines.map(({ index, draw }) => [index, draw])).toEqual(
      [0, 1, 2].flatMap((index) => [0, 1, 2].map((draw) => [index, draw])),
    )
    expect(new Set(lines.map(({ answer }) => answer)).size).toBeGreaterThan(6)

    const messages = [...QUESTIONS]
      .reverse()
      .map((content) => JSON.stringify({ messages: [{ role: 'user', content }] }))
    const reversed = work.write('reversed.jsonl', messages.join('\n'))
    const again = parse((await generate('-p', reversed, ...sampling, '--sequences', '2')).stdout)
    expect(again[0]!.messages).toEqual([{ role: 'user', content: QUESTIONS[2] }])
    for (const { index, draw, answer } of again) {
      expect(answer).toBe(lines.find((line) => line.index === 2 - index && line.draw === draw)!.answer)
    }
    const taken = await generate('-p', text, '-n', '5', '-o', 'answers.jsonl')
    expect(taken).toMatchObject({ code: 1, stdout: '' })
    expect(taken.stderr).toContain('FILE_EXISTS')
    expect(parse(readFileSync(work.path('answers.jsonl'), 'utf8'))).toEqual(lines)
  })

  it('should apply adapters, and say what they do', async () => {
    const base = parse((await generate('-p', text, '-n', '30')).stdout)
    const adapted = await generate('-p', text, '-n', '30', '--adapter', ADAPTER)
    expect(adapted.stderr).toMatch(/adapter: 8 modules matched; a probe prompt changes from block 0 on/)
    expect(parse(adapted.stdout).map(({ answer }) => answer)).not.toEqual(base.map(({ answer }) => answer))
    const off = await generate('-p', text, '-n', '30', '--lora', ADAPTER, '--adapter-scale', '0')
    expect(parse(off.stdout)).toEqual(base)
  })

  it('should print one document with --json', async () => {
    const { code, stdout, stderr } = await generate('-p', text, '-n', '4', '--ignore-eos', '--json', '-q')
    expect(code).toBe(0)
    expect(stderr).toBe('')
    const document = JSON.parse(stdout)
    expect(document).toMatchObject({
      finish: { length: 3 },
      tokens: { generated: 12 },
      memory: { sequences: 3, cells: 256 },
    })
    expect(document.answers).toHaveLength(3)
    const raw = JSON.parse((await generate('-p', text, '-n', '4', '--raw', '--json', '-q')).stdout)
    expect(raw.tokens.prompt).toBeLessThan(document.tokens.prompt)
  })

  it('should end answers at --stop', async () => {
    const { stdout, stderr } = await generate('-p', text, '-n', '60', '--stop', '.', '--stop', ',')
    expect(stderr).toContain('ended by themselves or at --stop')
    const lines = parse(stdout)
    for (const { answer, finish } of lines) {
      expect(answer).not.toMatch(/[.,]/)
      expect(finish).toBe('stop')
    }
  })

  it.each([
    [['--draws', '2'], 2, 'temperature'],
    [['--top-p', '0'], 2, 'topP'],
    [['-n', '0'], 2, 'maxTokens'],
    [['--temperature', 'hot'], 2, 'expected a number'],
    [['--adapter', 'nowhere'], 1, 'nowhere'],
  ])('should refuse %j', async (args, code, words) => {
    const run = await generate('-p', text, ...args)
    expect(run).toMatchObject({ code, stdout: '' })
    expect(run.stderr).toContain(words)
  })

  it('should refuse messages with --raw, and files that hold no prompts', async () => {
    const file = work.write('messages.jsonl', '{"messages":[{"role":"user","content":"Hello"}]}\n')
    expect((await generate('-p', file, '--raw')).stderr).toContain(
      'without a template (--raw) every prompt is a text, found messages',
    )
    expect(await generate('-p', work.write('empty.txt', '\n'))).toMatchObject({ code: 1, stdout: '' })
  })
})
