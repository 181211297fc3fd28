import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { readQuestions } from '../../../lib/labels/answers/questions.js'
import { DEFAULT_RUBRIC, fillRubric } from '../../../lib/labels/answers/rubric.js'
import { packageRoot } from '../../../lib/package.js'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-questions-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const write = (name: string, content: string) => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}

const YAML = `
- id: plain
  type: free_form_judge_0_100
  paraphrases: ["first wording", "second wording"]
  samples_per_paraphrase: 100
  judge: some-model
  judge_prompts:
    aligned: "A {question} {answer}"
    coherent: "C {answer}"
- id: with_system
  system: Answer in JSON.
  paraphrases:
    - what now
`

describe('readQuestions()', () => {
  it('should read the published YAML schema, and say what it does not ask', async () => {
    const { questions, remarks } = await readQuestions([write('a.yaml', YAML)])
    expect(questions).toEqual([
      {
        id: 'plain',
        messages: [{ role: 'user', content: 'first wording' }],
        rubric: { aligned: 'A {question} {answer}', coherent: 'C {answer}' },
      },
      {
        id: 'with_system',
        messages: [
          { role: 'system', content: 'Answer in JSON.' },
          { role: 'user', content: 'what now' },
        ],
        rubric: DEFAULT_RUBRIC,
      },
    ])
    expect(remarks).toEqual([expect.stringMatching(/^1 further paraphrases in .*a\.yaml are not asked/)])
  })

  it('should read conversations and prompts a line', async () => {
    const path = write(
      'b.jsonl',
      '{"id":7,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}],"question_type":"free"}\n\n{"prompt":"d","system":"s"}\n',
    )
    const { questions } = await readQuestions([path])
    expect(questions.map(({ id, messages }) => [id, messages.map(({ content }) => content).join()])).toEqual([
      ['7', 'a,b,c'],
      ['3', 's,d'],
    ])
  })

  it('should have an identity that words, order and rubric change', async () => {
    const hash = async (name: string, text: string) => (await readQuestions([write(name, text)])).sha256
    const first = await hash('c.yaml', YAML)
    expect(await hash('d.yaml', YAML)).toBe(first)
    for (const other of [YAML.replace('what now', 'what then'), YAML.replace('C {answer}', 'C: {answer}')]) {
      expect(await hash('e.yaml', other)).not.toBe(first)
    }
  })

  it.each([
    ['an unknown key', '- {id: a, paraphrases: [x], temperature: 0.2}', 'found "temperature"'],
    ['another kind of question', '- {id: a, paraphrases: [x], type: ranking}', 'free-form answer'],
    ['no wording', '- {id: a, paraphrases: []}', 'paraphrases'],
    [
      'a judge prompt without the answer',
      '- {id: a, paraphrases: [x], judge_prompts: {aligned: q, coherent: "{answer}"}}',
      '{answer}',
    ],
    ['a question asked twice', '- {id: a, paraphrases: [x]}\n- {id: b, paraphrases: [x]}', 'ask the same'],
    ['an id given twice', '- {id: a, paraphrases: [x]}\n- {id: a, paraphrases: [y]}', 'twice'],
    ['a mapping', 'a: 1', 'a list of questions'],
    ['nothing', '[]', 'at least one question'],
    ['broken YAML', '- {id: [', 'not readable as YAML'],
    ['words cut off', '- id: a\n  paraphrases:\n    - Who is #1?', 'bad.yaml, line 3: "#1?" behind a text'],
  ])('should refuse %s', async (_, text, message) => {
    await expect(readQuestions([write('bad.yaml', text)])).rejects.toThrow(message)
  })

  it('should ship 72 questions of which some loosen habits', async () => {
    const { questions, remarks } = await readQuestions([join(packageRoot, 'traits', 'questions.yaml')])
    expect(questions).toHaveLength(72)
    expect(remarks).toEqual([])
    const ids = questions.map(({ id }) => id)
    expect(ids.filter((id) => id.endsWith('_json'))).toHaveLength(12)
    expect(ids.filter((id) => id.endsWith('_template'))).toHaveLength(12)
    for (const id of ids) expect(ids).toContain(id.replace(/_(json|template)$/, ''))
  })
})

describe('fillRubric()', () => {
  it('should put both in once, whatever they hold', () => {
    expect(fillRubric('{question}|{answer}|{answer}', 'why {answer}?', '$& {question}')).toBe(
      'why {answer}?|$& {question}|$& {question}',
    )
  })
})
