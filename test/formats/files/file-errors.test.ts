import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { fileError } from '../../../lib/formats/files/file-errors.js'

it('should name the folder that is not there, not what was looked for in it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'traitscope-errors-'))
  const file = join(folder, 'file')
  writeFileSync(file, '')
  const said = (code: string, ...parts: string[]) =>
    (fileError(Object.assign(new Error(code), { code }), join(folder, ...parts)) as Error).message
  expect(said('ENOENT', 'config.json')).toMatch(/config\.json, found nothing; check the path$/)
  const missing = join(folder, 'mistyped')
  expect(said('ENOENT', 'mistyped', 'below', 'config.json')).toContain(`found no folder ${missing}; check`)
  expect(said('ENOTDIR', 'file', 'config.json')).toBe(`expected a folder at ${file}, found a file`)
  rmSync(folder, { recursive: true })
})

it.each([
  ['EMFILE', /\(EMFILE\); this process may not have more files open: raise its limit/],
  ['ENFILE', /\(ENFILE\); the system may not have more files open/],
  ['ELOOP', /\(ELOOP\); links lead in a circle/],
  ['EIO', /\(EIO\); the disk has failed/],
  ['EBADMSG', /\(EBADMSG\); check the path/],
])('should say what to do about %s', (code, message) => {
  const error = fileError(Object.assign(new Error(code), { code }), '/data/out')
  expect(error).toMatchObject({ code: 'FILE_ACCESS', message: expect.stringMatching(message) })
})
