import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ownerTag, sweepAbandoned } from '../../../lib/formats/files/owner.js'
import { makeScratch } from '../../../lib/formats/files/scratch.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-owner-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** The number of a process that has ended. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', ''])
  await once(child, 'exit')
  return child.pid!
}

const [here] = ownerTag().split('-')

describe('sweepAbandoned', () => {
  it('should remove what dead processes left, and nothing of living ones or of others', async () => {
    const pid = await deadPid()
    const kept = [
      ...[`checkpoint-${ownerTag()}-abc`, `.merged.gguf.${ownerTag()}-ab12.tmp`],
      ...[`checkpoint-${pid}-abc`, 'checkpoint-10', 'notes.tmp', `checkpoint-00000000-${pid}-abc`],
    ]
    const old = `checkpoint-00000000-${pid}-old`
    for (const name of [
      ...kept,
      `checkpoint-${here}-${pid}-abc`,
      `.merged.gguf.${here}-${pid}-ab12.tmp`,
      old,
    ]) {
      await mkdir(join(folder, name))
      await writeFile(join(folder, name, 'file'), 'x')
    }
    await utimes(join(folder, old), 1, 1)
    await sweepAbandoned(folder)
    expect((await readdir(folder)).sort()).toEqual([...kept].sort())
  })

  it('should happen whenever a scratch folder is made', async () => {
    const left = join(folder, `checkpoint-${here}-${await deadPid()}-abc`)
    await mkdir(left)
    const scratch = await makeScratch(folder)
    expect(await readdir(folder)).toEqual([scratch.slice(folder.length + 1)])
    expect(scratch).toContain(ownerTag())
  })
})
