import { constants } from 'node:fs'
import { expect, it, vi } from 'vitest'
import { makeFolder, writeFileAtomic } from '../../../lib/formats/files/atomic.js'

const failed = (code: string) => Object.assign(new Error(code), { code, syscall: 'mkdir' })

// What Node 20 does on a read-only file system, which a test cannot mount.
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>()
  return {
    ...real,
    mkdir: async () => {
      throw failed('ENOENT')
    },
    access: async (path: string, mode?: number) => {
      if (mode === constants.W_OK) throw failed('EROFS')
      await real.access(path, mode)
    },
  }
})

it('should call a read-only file system by its name where a folder is to be made', async () => {
  const refused = {
    code: 'FILE_ACCESS',
    message: expect.stringMatching(/EROFS.*read-only: choose another place/),
  }
  await expect(makeFolder('/nowhere/at/all')).rejects.toMatchObject(refused)
  await expect(writeFileAtomic('/nowhere/at/all/file', 'x')).rejects.toMatchObject(refused)
})
