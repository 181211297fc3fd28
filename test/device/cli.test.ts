import { describe, expect, it } from 'vitest'
import { readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { MODEL, Workspace } from '../e2e/workspace.js'
import { skippedWithoutDevice } from '../helpers/device.js'
import { relativeL2 } from '../helpers/tiny.js'

const skipped = skippedWithoutDevice('flags of devices')

describe.skipIf(skipped)('a command on a device', () => {
  const work = new Workspace()
  const prompts = work.write('prompts.txt', 'How long does bread keep?\nHow long does it rain?\nWhy?\n')

  const extract = async (name: string, flags: readonly string[]) => {
    const out = work.path(`${name}.safetensors`)
    const { code, stderr } = await work.run([
      'extract',
      ...[...MODEL, '-p', prompts, '-l', '2', '-o', out, '--force', ...flags],
    ])
    const lines = stderr.split('\n').filter((line) => /RPC0|CPU/.test(line))
    const rows = async () => {
      const file = await readSafetensors(out)
      return file.float32('hidden_states')
    }
    return { code, lines, rows }
  }

  it('should say where it computes and what that takes, and compute what the CPU does', async () => {
    const cpu = await extract('cpu', ['--device', 'cpu'])
    expect(cpu).toMatchObject({ code: 0, lines: [] })
    for (const [name, flags, blocks] of [
      ['auto', [], '3 of 3'],
      ['all', ['-ngl', '99', '--device', 'rpc0'], '3 of 3'],
      ['two', ['--gpu-layers', '2'], '2 of 3'],
      ['capped', ['--max-vram', '1G'], '3 of 3'],
    ] as const) {
      const device = await extract(name, flags)
      expect(device.code, name).toBe(0)
      expect(device.lines, name).toEqual([
        expect.stringMatching(
          new RegExp(`${blocks} blocks on RPC0.*[0-9.]+ GiB of [0-9.]+ GiB free planned`),
        ),
      ])
      // The CPU lays queries out for its products, so sums round otherwise there.
      expect(relativeL2(await device.rows(), await cpu.rows()), name).toBeLessThan(1e-5)
    }
  })

  it('should fall back to the CPU with one line, unless the device was asked for', async () => {
    const little = await extract('little', ['--max-vram', '1M'])
    expect(little).toMatchObject({
      code: 0,
      lines: [expect.stringMatching(/RPC0 is not used: .*the CPU computes/)],
    })
    const none = await extract('none', ['--gpu-layers', '0'])
    expect(none).toMatchObject({ code: 0, lines: [] })
    const asked = await extract('asked', ['--max-vram', '1M', '--gpu-layers', '2'])
    expect(asked.code).toBe(1)
    expect(asked.lines).toEqual([expect.stringMatching(/2 blocks on RPC0 take .* GiB.*--gpu-layers/)])
  })
})
