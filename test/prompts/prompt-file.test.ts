import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readPromptFile } from '../../lib/prompts/prompt-file.js'
import { tempFolder } from './temp-folder.js'

const read = (name: string, content: string | Uint8Array) =>
  readPromptFile(join(tempFolder({ [name]: content }), name))

const talk = { messages: [{ role: 'user', content: 'Hi' }] }

describe('readPromptFile', () => {
  it.each([
    ['a.txt', 'one\n\n  two \r\nthree', [{ text: 'one' }, { text: '  two ' }, { text: 'three' }]],
    ['a.txt', 'one\rtwo\r', [{ text: 'one' }, { text: 'two' }]],
    ['a.jsonl', JSON.stringify({ ...talk, tools: [], set: 'a', enable_thinking: false }), [talk]],
    ['a.TXT', '\ufeffone\n', [{ text: 'one' }]],
    ['a.jsonl', `{"prompt":"one","id":7}\n\n${JSON.stringify(talk)}\n`, [{ text: 'one' }, talk]],
    ['a.json', JSON.stringify([talk, { prompt: 'two' }]), [talk, { text: 'two' }]],
  ])('should read %s with %j', async (name, content, prompts) => {
    expect(await read(name, content)).toEqual(prompts)
  })

  it.each([
    ['a.jsonl', '{"prompt":"one"}\n\n{"prompt":', 'FILE_INVALID', /a\.jsonl, line 3/],
    ['a.jsonl', '[1]', 'FILE_INVALID', /line 1: expected an object with the key prompt or messages/],
    ['a.jsonl', '{"text":"one"}', 'FILE_INVALID', /line 1: .*found none/],
    ['a.jsonl', '{"prompt":"one","messages":[]}', 'FILE_INVALID', /line 1: .*found both/],
    ['a.jsonl', '{"prompt":" "}', 'FILE_INVALID', /line 1: expected prompt to be text that is not empty/],
    ['a.jsonl', '{"prompt":5}', 'FILE_INVALID', /line 1: expected prompt to be text/],
    ['a.jsonl', '{"messages":[]}', 'FILE_INVALID', /line 1: expected messages to be a list with entries/],
    [
      'a.jsonl',
      '{"prompt":"a"}\n{"messages":[{"role":"user","content":"a"},{"role":"tool","content":"a"}]}',
      'FILE_INVALID',
      /line 2, message 2: expected the role to be system, user, assistant, found "tool"/,
    ],
    ['a.jsonl', '{"messages":[{"content":"a"}]}', 'FILE_INVALID', /message 1: .*found none/],
    ['a.jsonl', '{"messages":[{"role":"user","content":["a"]}]}', 'FILE_INVALID', /content to be text/],
    ['a.jsonl', '{"messages":["a"]}', 'FILE_INVALID', /message 1: expected an object with role and content/],
    [
      'a.jsonl',
      '{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function"}]}',
      'FILE_INVALID',
      /line 1: tools is not handed to the chat template here/,
    ],
    [
      'a.jsonl',
      '{"prompt":"a","system":"b"}',
      'FILE_INVALID',
      /line 1: system is not handed .*write messages/,
    ],
    ['a.jsonl', '{"prompt":"a","tools":[{}]}', 'FILE_INVALID', /line 1: tools is not handed/],
    [
      'a.jsonl',
      '{"messages":[{"role":"assistant","content":"a","reasoning_content":"so"}]}',
      'FILE_INVALID',
      /message 1: reasoning_content is not handed/,
    ],
    ['a.json', '{"prompt":"a"}', 'FILE_INVALID', /expected a list of prompts/],
    ['a.json', '[{"prompt":"a"},{}]', 'FILE_INVALID', /entry 2/],
    ['a.txt', '\n \n', 'FILE_INVALID', /at least one prompt/],
    ['a.txt', Uint8Array.of(0xff, 0xfe, 0x41, 0), 'FILE_INVALID', /UTF-8/],
    ['a.csv', 'a', 'UNSUPPORTED', /\.txt, \.jsonl or \.json/],
  ])('should refuse %s with %j', async (name, content, code, text) => {
    await expect(read(name, content)).rejects.toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(text) }),
    )
  })

  it('should say that a missing file is missing', async () => {
    await expect(readPromptFile('/nowhere/prompts.txt')).rejects.toThrow(
      expect.objectContaining({ code: 'FILE_NOT_FOUND' }),
    )
  })
})
