import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/package.js'

// Files move; what pages say of them has to follow.
const PATH =
  /`((?:benchmarks|bin|docs|examples|integrations|lab|lib|native|organisms|page|priors|scripts|test|traits)\/[\w./-]+)`/g
const LINK = /\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?\)/g
/** Of pages that are published, where `docs/` is not. */
const HOME_LINK =
  /https:\/\/(?:github\.com\/traitscope\/traitscope\/(?:blob|tree)|raw\.githubusercontent\.com\/traitscope\/traitscope)\/main\/([^)#\s]+)(?:#([^)\s]+))?/g
const pages = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  ...['docs', 'lab', 'organisms', 'benchmarks', 'examples', 'integrations'].flatMap((folder) =>
    readdirSync(join(packageRoot, folder), { recursive: true })
      .map((file) => `${folder}/${String(file)}`)
      .filter((file) => file.endsWith('.md')),
  ),
]

describe('pages', () => {
  it('should name files and folders that there are', () => {
    const named = pages.flatMap((page) =>
      [...read(page).matchAll(PATH)].map(([, path]) => ({
        page,
        path: path!,
      })),
    )
    expect(named.length).toBeGreaterThan(100)
    expect(named.filter(({ path }) => !existsSync(join(packageRoot, path)))).toEqual([])
  })

  it('should link to pages and headings that there are', () => {
    // Beside the README of lab/real lie parts of docs/real-models.md, which link from there.
    const whole = pages.filter((page) => !page.startsWith('lab/real/') || page.endsWith('README.md'))
    const links = whole.flatMap((page) => [
      ...[...read(page).matchAll(LINK)].map(([, to, heading]) => ({
        page,
        to: to ? posix.join(posix.dirname(page), to) : page,
        heading,
      })),
      ...[...read(page).matchAll(HOME_LINK)].map(([, to, heading]) => ({ page, to: to!, heading })),
    ])
    expect(links.length).toBeGreaterThan(100)
    const isThere = ({ to, heading }: (typeof links)[number]) =>
      existsSync(join(packageRoot, to)) && (heading === undefined || anchors(to).includes(heading))
    expect(links.filter((link) => !isThere(link))).toEqual([])
  })

  it('should say where every link by name leads', () => {
    const nowhere = pages.flatMap((page) =>
      [...read(page).matchAll(/\[((?:docs|examples|integrations)\/[^\]\s]*|[A-Z_]+\.md)\](?![(:])/g)]
        .filter(([, name]) => !read(page).includes(`\n[${name}]: `))
        .map(([link]) => [page, link]),
    )
    expect(nowhere).toEqual([])
  })

  it('should have no page of docs/ that the README does not name', () => {
    const readme = read('README.md')
    const whole = pages.filter((page) => /^docs\/[\w-]+\.md$/.test(page))
    expect(whole.filter((page) => !readme.includes(`[${page}]`))).toEqual([])
  })
})

function read(page: string): string {
  return readFileSync(join(packageRoot, page), 'utf8')
}

/** Of a page's headings, as GitHub makes them. */
const anchors = (page: string): string[] =>
  [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  )
