import { expect, it } from 'vitest'
import { fileError } from '../../../lib/formats/files/file-errors.js'

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
