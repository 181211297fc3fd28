import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { loadDirections } from '../../lib/directions/directions-folder.js'
import { changedFolder, type FolderChanges } from '../helpers/convert-folder.js'
import { TINY_PACK } from '../helpers/tiny.js'
import { Workspace } from './workspace.js'

const work = new Workspace()
const convert = async (name: string, folder: string, changes: FolderChanges, ...args: string[]) => {
  const source = await changedFolder(work.folder, folder, changes)
  return work.run(['convert', source, '-o', work.path(`${name}.gguf`), ...args])
}

describe('traitscope convert', () => {
  it('should say what it compared, what it ignored and what the model does otherwise', async () => {
    const config = { sliding_window: 16, made_up: 3 }
    const refused = await convert('refused', 'mistral', { config })
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(/config\.json has made_up 3.*--ignore-key made_up/)
    expect(readdirSync(work.folder).filter((file) => file.includes('refused'))).toEqual([])

    const { code, stdout, stderr } = await convert(
      'mistral',
      'mistral',
      { config },
      '--ignore-key',
      'made_up',
    )
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('llama, 3 blocks') })
    expect(stderr).toContain('ignored: made_up')
    expect(stderr).toMatch(/remark: all blocks attend to the last 16 tokens/)
    expect(stderr).toMatch(/\d+ token ids of \d+ texts are those of Hugging Face's tokenizer/)

    const prompts = work.write(
      'long.txt',
      `${'one two three four five six seven eight nine ten '.repeat(3)}\n`,
    )
    const read = await work.run([
      'extract',
      '-m',
      work.path('mistral.gguf'),
      '-p',
      prompts,
      '-l',
      '1',
      '-o',
      's.st',
    ])
    expect(read.code).toBe(1)
    expect(read.stderr).toMatch(
      /prompt 0 has \d+ tokens, but blocks of this model attend to the last 16 tokens only/,
    )
  })

  it('should give all of that as JSON', async () => {
    const { code, stdout, stderr } = await convert('phi3', 'phi3', {}, '--json')
    expect(code).toBe(0)
    // What is done when all is written.
    expect(stderr).toMatch(/^converting .*\nall is written: opening .*phi3\.gguf and reading a prompt$/m)
    expect(JSON.parse(stdout)).toMatchObject({
      architecture: 'phi3',
      ignoredKeys: [],
      remarks: [expect.stringContaining('2047'), expect.stringContaining('LongRoPE')],
      compared: { texts: expect.any(Number), ids: expect.any(Number) },
    })
    expect(existsSync(work.path('phi3.gguf'))).toBe(true)
  })

  it('should exit 2 for a key that needs no ignoring', async () => {
    const { code, stderr } = await convert('idle', 'qwen2', {}, '--ignore-key', 'made_up')
    expect(code).toBe(2)
    expect(stderr).toContain('--ignore-key names made_up')
  })
})

describe('what there is to know of a base', () => {
  // A key that was ignored, and prompts of which one rotates otherwise.
  const config = {
    made_up: 3,
    original_max_position_embeddings: 256,
    sliding_window: null,
    rope_parameters: {
      rope_type: 'longrope',
      rope_theta: 1e4,
      long_factor: [1.08, 1.3, 2, 3.5, 5, 9, 14, 22],
      short_factor: [1, 1.02, 1.1, 1.25, 1.4, 1.75, 2.1, 2.4],
    },
  }
  const ignored = /converted without made_up of its folder/
  const model = ['-m', work.path('long.gguf')]
  const rotation = (count: RegExp) =>
    new RegExp(`${count.source} prompts have more than 256 tokens.*LongRoPE`)
  beforeAll(async () => {
    expect(await convert('long', 'phi3', { config }, '--ignore-key', 'made_up')).toMatchObject({ code: 0 })
  })

  it('should be said by inspect', async () => {
    expect((await work.succeed(['inspect', work.path('long.gguf')])).stdout).toMatch(ignored)
    const { stdout } = await work.succeed(['inspect', work.path('long.gguf'), '--json'])
    expect(JSON.parse(stdout).remarks).toEqual([expect.stringMatching(ignored)])
  })

  it('should be said by extract, in its JSON, and however quiet', async () => {
    const prompts = work.write('mixed.txt', `short\n${'long '.repeat(200)}\n`)
    const args = ['extract', ...model, '-p', prompts, '-l', '1', '--raw', '-o', 'l.st', '--force']
    const remarks = [ignored, rotation(/1 of 2/)]
    const json = await work.succeed([...args, '--json'])
    expect(JSON.parse(json.stdout).remarks).toEqual(remarks.map((remark) => expect.stringMatching(remark)))
    const quiet = await work.succeed([...args, '-q'])
    for (const remark of remarks) {
      expect(json.stderr).toMatch(remark)
      expect(quiet.stderr).toMatch(remark)
    }
    // One document that holds them, and nothing else.
    expect((await work.succeed([...args, '-q', '--json'])).stderr).toBe('')
  })

  it('should be said by directions and stay in their folder', async () => {
    const text = readFileSync(TINY_PACK, 'utf8')
    const pack = work.write('long.yaml', text.replace(/^questions:\n {2}- /m, `$&${'long '.repeat(200)}`))
    const remarks = [ignored, rotation(/\d+ of \d+/)]
    const args = ['directions', ...model, '-l', '1', '--traits', pack, '--trait-set', 'honesty,sycophancy']
    const { stderr } = await work.succeed([...args, '-o', work.path('directions')])
    const { remarks: kept } = await loadDirections(work.path('directions'))
    expect(kept).toEqual(remarks.map((remark) => expect.stringMatching(remark)))
    for (const remark of remarks) expect(stderr).toMatch(remark)
  })

  it('should be said by generate and bench', async () => {
    const prompts = work.write('one.txt', 'short\n')
    const generated = await work.succeed([
      ...['generate', ...model, '-p', prompts, '-n', '2', '--raw', '--json'],
    ])
    const benched = await work.succeed([
      ...['bench', ...model, '--traits', TINY_PACK, '--seconds', '0.01', '-t', '1', '-ub', '256', '--json'],
    ])
    for (const { stdout } of [generated, benched]) {
      expect(JSON.parse(stdout).remarks).toEqual([expect.stringMatching(ignored)])
    }
  })
})
