import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { binding, type NativeDevice } from '../../lib/binding.js'
import { runCli } from '../helpers/child.js'
import { skippedWithoutDevice } from '../helpers/device.js'
import { TINY_BASE } from '../helpers/tiny.js'

const skipped = skippedWithoutDevice('the self-check of a device')

describe.skipIf(skipped)('the self-check of a device', () => {
  let cacheDir: string
  let device: NativeDevice
  let check: typeof import('../../lib/model/self-check.js').checkDevice
  beforeAll(async () => {
    cacheDir = await mkdtemp(join(tmpdir(), 'traitscope-check-'))
    device = binding()
      .devices()
      .find(({ isGpu }) => isGpu)!
  })
  beforeEach(async () => {
    vi.resetModules() // what it remembers
    check = (await import('../../lib/model/self-check.js')).checkDevice
  })
  afterAll(() => rm(cacheDir, { recursive: true, force: true }))

  const kept = async () => {
    const [name, ...more] = await readdir(cacheDir)
    expect(more).toEqual([])
    return join(cacheDir, name!)
  }

  it('should find the CPU’s states, in one decode and in two, and keep that', async () => {
    const { errors, problem } = await check(device, { cacheDir })
    expect(problem).toBeUndefined()
    expect(errors.map(({ type }) => type)).toEqual(['F32', 'BF16', 'F16', 'Q8_0', 'Q4_K'])
    for (const { unsplit, split, atMost } of errors) {
      expect(unsplit).toBe(0) // the CPU's own kernels
      expect(split).toBeLessThan(atMost)
    }
    expect(JSON.parse(await readFile(await kept(), 'utf8'))).toHaveLength(5)
  })

  it('should take what it kept, and judge that too', async () => {
    const path = await kept()
    const checks = JSON.parse(await readFile(path, 'utf8'))
    await writeFile(path, JSON.stringify([{ ...checks[0], split: 0.168 }, ...checks.slice(1)]))
    const { problem } = await check(device, { cacheDir })
    expect(problem).toMatch(
      /computes other states than the CPU: relative L2 .* and 1\.7e-1 in two with F32 weights/,
    )
  })

  it('should check again where what it kept is damaged', async () => {
    await writeFile(await kept(), '[{"type": "F32"}]')
    const { errors, problem } = await check(device, { cacheDir })
    expect(problem).toBeUndefined()
    expect(errors).toHaveLength(5)
  })

  it('should say why a device could not be checked, and keep nothing', async () => {
    const { errors, problem } = await check({ ...device, name: 'RPC7' }, { cacheDir })
    expect(errors).toEqual([])
    expect(problem).toBe('RPC7 could not be checked: there is no device RPC7')
    await kept()
  })

  it('should be stopped by a signal, for whom it belongs to alone', async () => {
    const controller = new AbortController()
    const ours = check({ ...device, name: 'RPC8' }, { signal: controller.signal, cacheDir })
    const theirs = check({ ...device, name: 'RPC8' }, { cacheDir })
    controller.abort()
    await expect(ours).rejects.toMatchObject({ code: 'ABORTED' })
    expect((await theirs).problem).toContain('no device RPC8')
  })

  it('should be seen in doctor, and a device that fails be refused', async () => {
    const env = { XDG_CACHE_HOME: cacheDir }
    const { code, stdout } = await runCli(['doctor'], { env })
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /RPC0: .*\n {12}self-check against the CPU, relative L2: F32 \S+ \(at most 0\.002\), BF16/,
    )
    const folder = join(cacheDir, 'traitscope')
    const path = join(folder, (await readdir(folder)).find((name) => name.startsWith('device-'))!)
    const checks = JSON.parse(await readFile(path, 'utf8'))
    await writeFile(path, JSON.stringify([{ ...checks[0], unsplit: 0.3 }, ...checks.slice(1)]))
    const failing = await runCli(['doctor'], { env })
    expect(failing.code).toBe(1)
    expect(failing.stdout).toMatch(/problem {5}RPC0 computes other states/)
    const prompts = join(cacheDir, 'prompts.txt')
    await writeFile(prompts, 'Why?\n')
    const extract = ['extract', '-m', TINY_BASE, '-p', prompts, '-l', '1', '-o', join(cacheDir, 'out')]
    const refused = await runCli([...extract, '--device', 'RPC0'], { env })
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('or compute with --device cpu'),
    })
    const fallen = await runCli(extract, { env })
    expect(fallen).toMatchObject({ code: 0, stderr: expect.stringContaining('the CPU computes') })
  })
})
