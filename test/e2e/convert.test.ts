import { existsSync, readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { changedFolder, type FolderChanges } from '../helpers/convert-folder.js'
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
    const { code, stdout } = await convert('phi3', 'phi3', {}, '--json')
    expect(code).toBe(0)
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

describe('traitscope extract on a LongRoPE base', () => {
  it('should say that long prompts rotate otherwise', async () => {
    const config = {
      original_max_position_embeddings: 256,
      sliding_window: null,
      rope_parameters: {
        rope_type: 'longrope',
        rope_theta: 1e4,
        long_factor: [1.08, 1.3, 2, 3.5, 5, 9, 14, 22],
        short_factor: [1, 1.02, 1.1, 1.25, 1.4, 1.75, 2.1, 2.4],
      },
    }
    expect(await convert('long', 'phi3', { config })).toMatchObject({ code: 0 })
    const prompts = work.write('mixed.txt', `short\n${'long '.repeat(200)}\n`)
    const args = ['extract', '-m', work.path('long.gguf'), '-p', prompts, '-l', '1', '--raw', '-o', 'l.st']
    const { stdout, stderr } = await work.succeed([...args, '--json'])
    expect(stderr).toMatch(/remark: 1 of 2 prompts have more than 256 tokens.*LongRoPE/)
    expect(JSON.parse(stdout).remarks).toHaveLength(1)
  })
})
