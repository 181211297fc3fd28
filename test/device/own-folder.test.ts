import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { runCli } from '../helpers/child.js'
import { skippedWithoutDevice } from '../helpers/device.js'
import { plantLibraries } from '../helpers/planted.js'

describe.skipIf(skippedWithoutDevice('libraries of a portable build'))(
  'libraries of a portable build',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'traitscope-planted-'))
    const opened = plantLibraries(folder)
    afterAll(() => rmSync(folder, { recursive: true, force: true }))

    it('should come from its own folder, not from the working directory', async () => {
      const { code, stdout } = await runCli(['doctor', '--json'], { cwd: folder })
      expect(code).toBe(0)
      expect(JSON.parse(stdout).devices.length).toBeGreaterThan(0)
      expect(opened()).toBe(false)
    })

    it('should not be searched for by a name in GGML_BACKEND_PATH', async () => {
      const env = { GGML_BACKEND_PATH: './libggml-blas.so' }
      const { code, stdout } = await runCli(['doctor', '--json'], { cwd: folder, env })
      expect(code).toBe(1)
      expect(JSON.parse(stdout).problems.join()).toContain('expected an absolute path')
      expect(opened()).toBe(false)
    })

    it('should be opened where GGML_BACKEND_PATH names one in full', async () => {
      const env = { GGML_BACKEND_PATH: join(folder, 'libggml-blas.so') }
      const { code } = await runCli(['doctor', '--json'], { cwd: folder, env })
      expect(code).toBe(0)
      expect(opened()).toBe(true)
    })
  },
)
