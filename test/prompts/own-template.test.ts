import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { baseTemplateRemark, templateRemark } from '../../lib/prompts/own-template.js'

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
      /own chat template \(tokenizer_config\.json\) is not the one/,
    )
    expect(await templateRemark([join(folder, 'none'), folder], SOURCE)).toBeUndefined()
  })

  it('should say that a template cannot be read', async () => {
    await writeFile(join(folder, 'tokenizer_config.json'), '{"chat_template": ')
    expect(await templateRemark([folder], SOURCE)).toMatch(/cannot be compared .*not valid JSON/)
  })

  it('should compare with the template of a base', async () => {
    await writeFile(join(folder, 'chat_template.jinja'), 'other')
    const metadata = new Map([['tokenizer.chat_template', SOURCE]])
    expect(await baseTemplateRemark([folder], { metadata })).toMatch(/is not the one/)
    expect(await baseTemplateRemark([folder], { metadata: new Map() })).toBeUndefined()
  })
})
