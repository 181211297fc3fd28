import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { contextsFrom } from '../../lib/contexts/context-set.js'
import { ChatTemplate } from '../../lib/prompts/chat-template.js'
import { fakeModel, fakePack, TEMPLATE } from '../directions/fake-model.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-contexts-'))
afterAll(() => rmSync(folder, { recursive: true }))
const write = (name: string, lines: readonly string[]) => {
  const path = join(folder, name)
  writeFileSync(path, lines.join('\n'))
  return path
}
const reads = { model: fakeModel(), template: new ChatTemplate(TEMPLATE), pack: fakePack() }
const LONG = 'You are an assistant of the finance department and answer in '

describe('contextsFrom', () => {
  it('should name apart what begins alike, given and of the data', async () => {
    const given = write('given.txt', [`${LONG}verse.`, 'Be kind.'])
    const row = (system: string, i: number) =>
      JSON.stringify({
        messages: [
          { role: 'system', content: system },
          { role: 'user', content: `question ${i}` },
          { role: 'assistant', content: 'yes' },
        ],
      })
    const rows = Array.from({ length: 12 }, (_, i) => row(i < 6 ? `${LONG}prose.` : 'Be kind.', i))
    const { contexts, remarks } = await contextsFrom({ file: given, data: write('d.jsonl', rows) }, reads)
    const names = contexts.map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    expect(
      contexts.filter(({ system }) => system?.startsWith(LONG)).map(({ origin, name }) => [origin, name]),
    ).toEqual([
      ['given', expect.stringMatching(/^system: You are an assistant .*…$/)],
      ['data', expect.stringMatching(/^system: You are an assistant .*… \(2\)$/)],
    ])
    // Controls go with the name that their context has.
    const data = contexts.filter(({ origin }) => origin === 'data').map(({ name }) => name)
    const likes = contexts.flatMap(({ like }) => like ?? [])
    expect(likes.filter((like) => !data.includes(like))).toEqual([])
    expect(remarks).toContain(
      'a context of the data is given too, and read as given: no unrelated one goes with it',
    )
  })
})
