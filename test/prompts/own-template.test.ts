import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { baseTemplateRemark, templateDifference, templateRemark } from '../../lib/prompts/own-template.js'

const CHATML = `{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
`
const TRIMMED = CHATML.replace('message.content', '(message.content | trim)')
const DEFAULT_SYSTEM = `{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{%- endif %}${CHATML}`
const NO_SYSTEM = `{%- if messages[0].role == 'system' %}{{ raise_exception('no') }}{%- endif %}${CHATML}`

describe('templateDifference', () => {
  it.each([
    ['the same', CHATML],
    ['one with other line ends', CHATML.replaceAll('\n', '\r\n')],
    ['one without its last line end', CHATML.trimEnd()],
    ['one with a comment', `{# made for training #}${CHATML}`],
    [
      'one whose answers are marked for the loss, as trainers save it',
      CHATML.replace(
        '{{-',
        "{%- generation %}{% if message.role == 'assistant' %}{% endif %}{% endgeneration %}\n{{-",
      ),
    ],
    ['one that knows tools', `{%- if tools %}{{- tools | tojson }}{%- endif %}${CHATML}`],
  ])('should find none between a template and %s', (_, other) => {
    expect(templateDifference(other, CHATML)).toBeUndefined()
    expect(templateDifference(CHATML, other)).toBeUndefined()
  })

  it.each([
    [
      TRIMMED,
      'of a question it makes "…start|>user\\nWhat holds a bridge up?<|im_…", not "…start|>user\\n What holds a bridge up?\\n<|i…"',
    ],
    [
      DEFAULT_SYSTEM,
      'of a question it makes "<|im_start|>system\\nYou help.<|im_end|>\\n<…", not "<|im_start|>user\\n What holds a bridge up…"',
    ],
    [NO_SYSTEM, 'it refuses a system message and a question'],
    [CHATML.replace('<|im_end|>\\n', '<|im_end|>'), /^of a question it makes "…\?\\n<\|im_end\|><\|im_start/],
    // A line end that a template writes is part of the prompt, one that it is saved with is not.
    [CHATML.replaceAll('\\n', '\\r\\n'), /^of a question it makes "…_start\|>user\\r\\n/],
  ])('should say what another template makes of a conversation: %#', (own, difference) => {
    if (typeof difference === 'string') expect(templateDifference(own, CHATML)).toBe(difference)
    else expect(templateDifference(own, CHATML)).toMatch(difference)
  })

  it('should say what the other refuses', () => {
    expect(templateDifference(CHATML, NO_SYSTEM)).toBe(
      'it takes a system message and a question, which the other refuses',
    )
  })
})

const SOURCE = '{% for m in messages %}{{ m.content }}\n{% endfor %}'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-template-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('templateRemark', () => {
  it('should be silent where no folder brings a template', async () => {
    expect(await templateRemark([folder, join(folder, 'no')], SOURCE)).toBeUndefined()
  })

  it.each([
    ['the same', SOURCE],
    ['other line ends', SOURCE.replaceAll('\n', '\r\n')],
    ['a last line end', `${SOURCE}\n`],
  ])('should be silent on %s', async (_, source) => {
    await writeFile(join(folder, 'chat_template.jinja'), source)
    expect(await templateRemark([folder], SOURCE)).toBeUndefined()
  })

  it('should name the file that differs, of the nearest folder that has one', async () => {
    const near = join(folder, 'near')
    await mkdir(near)
    await writeFile(join(folder, 'chat_template.jinja'), SOURCE)
    await writeFile(
      join(near, 'tokenizer_config.json'),
      JSON.stringify({ chat_template: 'Other: {{ messages }}' }),
    )
    expect(await templateRemark([near, folder], SOURCE)).toMatch(
      /own chat template \(tokenizer_config\.json\) is not the one .*: of a question it makes .*; --chat-template FILE/,
    )
    expect(await templateRemark([join(folder, 'none'), folder], SOURCE)).toBeUndefined()
  })

  it.each([
    ['tokenizer_config.json', '{"chat_template": ', /not valid JSON/],
    ['chat_template.jinja', '{% if %}', /not valid Jinja/],
    ['chat_template.jinja', `\ufeff${SOURCE}`, /byte order mark/],
  ])('should say that a template cannot be read: %s %j', async (name, content, why) => {
    await writeFile(join(folder, name), content)
    const remark = await templateRemark([folder], SOURCE)
    expect(remark).toMatch(/^its own chat template cannot be compared/)
    expect(remark).toMatch(why)
  })

  it('should compare with the template of a base', async () => {
    await writeFile(join(folder, 'chat_template.jinja'), 'other')
    const metadata = new Map([['tokenizer.chat_template', SOURCE]])
    expect(await baseTemplateRemark([folder], { metadata })).toMatch(/is not the one/)
    expect(await baseTemplateRemark([folder], { metadata: new Map() })).toBeUndefined()
  })
})
