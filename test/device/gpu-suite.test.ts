import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
import { skippedWithoutDevice } from '../helpers/device.js'
import { expectSound, runGpuSuite } from '../helpers/gpu-suite.js'

const skipped = skippedWithoutDevice('the suite for a GPU')

describe.skipIf(skipped)('benchmarks/gpu on a device', () => {
  it('should run from end to end, with the weights of the blocks that run there', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'traitscope-suite-'))
    try {
      expectSound(runGpuSuite(folder, join(packageRoot, 'build/Release'), 'RPC0'), 'RPC0')
    } finally {
      await rm(folder, { recursive: true })
    }
  }, 300_000)
})
