import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { expectSound, runGpuSuite } from '../helpers/gpu-suite.js'

const build = join(packageRoot, 'build/cmake')
const isBuilt = existsSync(join(build, 'CMakeCache.txt'))
if (!isBuilt)
  console.info('skipped the suite for a GPU: needs the folder of a source build; npm run build makes one')

describe.skipIf(!isBuilt)('benchmarks/gpu', () => {
  it('should run from end to end on the CPU', async () => {
    const compiled = spawnSync('cmake', ['--build', build, '--target', 'gpu_suite', '--parallel', '2'], {
      encoding: 'utf8',
    })
    expect(compiled.status, `${compiled.stdout}${compiled.stderr}`).toBe(0)
    const folder = await mkdtemp(join(tmpdir(), 'traitscope-suite-'))
    try {
      expectSound(runGpuSuite(folder, build, 'cpu'), 'CPU')
    } finally {
      await rm(folder, { recursive: true })
    }
  }, 300_000)
})
