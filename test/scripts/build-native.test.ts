import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'
// @ts-expect-error a script without types
import { isOfOtherSources } from '../../scripts/build-native.mjs'

const folder = mkdtempSync(join(tmpdir(), 'traitscope-build-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('a build folder', () => {
  it('should be begun anew where the checkout was moved or copied, which CMake refuses', () => {
    expect(isOfOtherSources(folder)).toBe(false)
    const link = join(folder, 'link')
    symlinkSync(packageRoot, link, 'junction')
    for (const [home, other] of [
      [packageRoot, false],
      [link, false],
      [folder, true],
      [join(folder, 'gone'), true],
    ] as const) {
      writeFileSync(join(folder, 'CMakeCache.txt'), `# made\nCMAKE_HOME_DIRECTORY:INTERNAL=${home}\n`)
      expect([home, isOfOtherSources(folder)]).toEqual([home, other])
    }
  })
})
