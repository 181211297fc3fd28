import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'

// "Method section 5.2" in a comment is section 5.2 of docs/method.md. Comments outlive renumbering, so they are read here.
const FOLDERS = ['benchmarks', 'bin', 'docs', 'examples', 'lab', 'lib', 'native', 'scripts', 'test']
const NUMBER = String.raw`\d+(?:\.\d+)?`
const CITATION = new RegExp(
  String.raw`\bmethod(?:\]\(method\.md\))? sections? (${NUMBER}(?:(?:,| and| to) ${NUMBER})*)`,
  'gi',
)

const page = readFileSync(join(packageRoot, 'docs', 'method.md'), 'utf8')
const chapters = [...page.matchAll(/^## (\d+)\. /gm)].map((match) => match[1] as string)
const paragraphs = [...page.matchAll(/^\*\*(\d+\.\d+) /gm)].map((match) => match[1] as string)
const sections = [...chapters, ...paragraphs]

/** The text of every file with comment marks and line ends taken out, since a citation may run over a line's end. */
const files = FOLDERS.flatMap((folder) =>
  readdirSync(join(packageRoot, folder), { recursive: true })
    .map((file) => `${folder}/${String(file)}`)
    .filter((file) => /\.(ts|mjs|js|py|cpp|h|md)$/.test(file))
    .map((file) => ({
      file,
      text: readFileSync(join(packageRoot, file), 'utf8').replace(/\s*\n\s*(?:\*|\/\/|#)?\s*/g, ' '),
    })),
)

describe('docs/method.md', () => {
  it('should number its sections in order', () => {
    expect(chapters).toEqual(chapters.map((_, i) => String(i + 1)))
    for (const chapter of chapters) {
      const own = paragraphs.filter((number) => number.startsWith(`${chapter}.`))
      expect(own).toEqual(own.map((_, i) => `${chapter}.${i + 1}`))
    }
  })

  it('should have every section that is cited', () => {
    const cited = files.flatMap(({ file, text }) =>
      [...text.matchAll(CITATION)].flatMap((match) =>
        (match[1] as string).split(/[^\d.]+/).map((section) => ({ file, section })),
      ),
    )
    expect(cited.length).toBeGreaterThan(40)
    expect(cited.filter(({ section }) => !sections.includes(section))).toEqual([])
  })

  it('should be the only document whose sections are cited', () => {
    const nameless = files.filter(
      ({ file, text }) => !file.startsWith('docs/') && /\(section \d|design\.md/.test(text),
    )
    expect(nameless.map(({ file }) => file)).toEqual([])
  })
})
