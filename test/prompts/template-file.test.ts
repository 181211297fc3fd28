import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readChatTemplate } from '../../lib/prompts/template-file.js'
import { tempFolder } from './temp-folder.js'

const named = [
  { name: 'tool_use', template: 'TOOLS' },
  { name: 'default', template: 'PLAIN' },
]
const config = (chat_template: unknown) => JSON.stringify({ bos_token: '<s>', chat_template })

describe('readChatTemplate', () => {
  it.each<
    [title: string, files: Record<string, string>, path: string, name: string | undefined, source: string]
  >([
    ['a Jinja file as it is', { 'chat.jinja': ' {{ x }}\n' }, 'chat.jinja', undefined, ' {{ x }}\n'],
    ['a file of another name', { 'mine.txt': '{{ x }}' }, 'mine.txt', undefined, '{{ x }}'],
    ['the text in a tokenizer config', { 't.json': config('{{ x }}') }, 't.json', undefined, '{{ x }}'],
    ['the default of a list of named templates', { 't.json': config(named) }, 't.json', undefined, 'PLAIN'],
    ['the named one of such a list', { 't.json': config(named) }, 't.json', 'tool_use', 'TOOLS'],
    [
      'the .jinja of a folder before its config',
      { 'chat_template.jinja': 'A', 'tokenizer_config.json': config('B') },
      '.',
      undefined,
      'A',
    ],
    ['the config of a folder', { 'tokenizer_config.json': config('B') }, '.', undefined, 'B'],
    [
      'the processor file of a folder whose config has none',
      { 'tokenizer_config.json': '{}', 'chat_template.json': config('C') },
      '.',
      undefined,
      'C',
    ],
  ])('should read %s', async (_, files, path, name, source) => {
    expect(await readChatTemplate(join(tempFolder(files), path), name)).toBe(source)
  })

  it.each<
    [title: string, files: Record<string, string | Uint8Array>, path: string, code: string, text: RegExp]
  >([
    ['a folder without any', { 'readme.md': '' }, '.', 'TEMPLATE', /--chat-template FILE/],
    ['a config without one', { 't.json': '{}' }, 't.json', 'TEMPLATE', /key chat_template/],
    [
      'a list without the name',
      { 't.json': config([named[0]]) },
      't.json',
      'TEMPLATE',
      /named default.*found tool_use$/,
    ],
    ['a number in its place', { 't.json': config(7) }, 't.json', 'TEMPLATE', /no named templates/],
    ['a missing file', {}, 'gone.jinja', 'FILE_NOT_FOUND', /gone\.jinja/],
    [
      'bytes that are not UTF-8',
      { 'a.jinja': Uint8Array.of(0x7b, 0xff) },
      'a.jinja',
      'FILE_INVALID',
      /UTF-8/,
    ],
    ['a config that is not JSON', { 't.json': '{' }, 't.json', 'FILE_INVALID', /t\.json/],
  ])('should refuse %s', async (_, files, path, code, text) => {
    await expect(readChatTemplate(join(tempFolder(files), path))).rejects.toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(text) }),
    )
  })
})
