/**
 * What the package's entries export, read from the declarations that its users get: names, declarations, comments, and the
 * types that a public declaration names but no entry exports. docs/api.md is written from it and test/api.test.ts judges it.
 *
 * The declarations are compiled afresh, so a stale dist/ cannot answer. They are read with the compiler's own interface, which
 * TypeScript 7 calls unstable: when it changes, this file is the only one to follow.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { SyntaxKind } from 'typescript/unstable/ast'
import { API, NodeBuilderFlags, SymbolFlags } from 'typescript/unstable/sync'
import { repository } from './stages.mjs'

const require = createRequire(import.meta.url)

/** Names of the entries as users import them, each with its source file; package.json's exports are the list. */
export function entries() {
  const { name, exports } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'))
  return Object.entries(exports)
    .filter(([, target]) => target.types !== undefined)
    .map(([path, { types }]) => ({
      name: join(name, path),
      source: types.replace(/^\.\/dist\//, '').replace(/\.d\.ts$/, '.ts'),
    }))
}

/**
 * @returns per entry its sections (`// ## Title` in the source file and the text below it) with their items: `name`, `kind`,
 * `value` (false for what exists in types only), `comment` and `text` (the declaration without what is private). And
 * `unexported`: lines that say which public declaration names which type that no entry exports
 */
export function publicApi() {
  const folder = join(repository, `build-api-${process.pid}`)
  const api = new API({ cwd: repository })
  try {
    compileDeclarations(folder)
    const listed = entries()
    const at = ({ source }) => join(folder, source.replace(/\.ts$/, '.d.ts'))
    const config = join(folder, 'tsconfig.json')
    writeFileSync(config, JSON.stringify({ extends: '../tsconfig.json', include: [], files: listed.map(at) }))
    const project = api.updateSnapshot({ openProjects: [config] }).getProject(config)
    return new Reader(project, folder).read(listed.map((entry) => ({ ...entry, file: at(entry) })))
  } finally {
    api.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

function compileDeclarations(folder) {
  const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc')
  const args = ['-p', 'tsconfig.build.json', '--emitDeclarationOnly', '--outDir', folder]
  const { status, stdout } = spawnSync(process.execPath, [tsc, ...args], {
    cwd: repository,
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`the declarations do not compile:\n${stdout}`)
}

class Reader {
  #checker
  #project
  #folder

  constructor(project, folder) {
    this.#project = project
    this.#checker = project.checker
    this.#folder = folder
  }

  read(listed) {
    const found = listed.map(({ name, source, file }) => ({ name, sections: this.#sections(source, file) }))
    const items = found.flatMap(({ sections }) => sections.flatMap((section) => section.items))
    const known = new Set(items.map(({ key }) => key))
    const unexported = new Set()
    for (const item of items) {
      for (const other of item.names) {
        if (!known.has(other.key)) unexported.add(`${item.name} names ${other.name} of ${other.file}`)
      }
    }
    return { entries: found, unexported: [...unexported].sort() }
  }

  /** Order and titles come from the source file, declarations from what the compiler makes of it. */
  #sections(source, file) {
    const exported = this.#checker.getExportsOfModule(
      this.#checker.getSymbolAtLocation(this.#project.program.getSourceFile(file)),
    )
    const items = new Map(exported.map((symbol) => [symbol.name, this.#item(symbol)]))
    const sections = []
    const text = readFileSync(join(repository, source), 'utf8')
    for (const part of text.split(/^\/\/ ## /m).slice(1)) {
      const [, title, lead, code] = /^(.*)\n((?:\/\/.*\n)*)([\s\S]*)$/.exec(part)
      const names = [...code.matchAll(/\b(?:export (type )?)\{([^}]*)\}/g)].flatMap(([, , list]) =>
        list
          .split(',')
          .map((name) => name.replace(/^\s*type\s+/, '').trim())
          .filter((name) => name !== ''),
      )
      const prose = lead.replace(/^\/\/ ?/gm, '').trim()
      sections.push({ title, lead: prose, items: names.map((name) => items.get(name)) })
    }
    const placed = new Set(sections.flatMap((section) => section.items))
    const lost = [...items.values()].filter((item) => !placed.has(item))
    if (lost.length > 0)
      throw new Error(`${source} exports outside of a section: ${lost.map(({ name }) => name).join(', ')}`)
    return sections
  }

  #item(symbol) {
    const typeOnly = symbol.declarations.some((handle) => {
      const specifier = handle.resolve()
      return specifier.isTypeOnly || specifier.parent.parent.isTypeOnly
    })
    const target = this.#target(symbol)
    const nodes = target.declarations.map((handle) => statementOf(handle.resolve()))
    const value = !typeOnly && (target.flags & SymbolFlags.Value) !== 0
    const hidden = nodes.flatMap((node) => hiddenMembers(node, value))
    return {
      name: symbol.name,
      key: keyOf(target),
      kind: kindOf(target),
      value,
      comment: commentOf(nodes[0]),
      text: nodes.map((node) => this.#spelledOut(node, target) ?? textOf(node, hidden)).join('\n'),
      names: nodes.flatMap((node) => this.#named(node, hidden)),
    }
  }

  /** A type that is made from a table, as the names that it stands for; undefined for others. */
  #spelledOut(node, symbol) {
    if (node.kind !== SyntaxKind.TypeAliasDeclaration || !/\btypeof\b/.test(node.type.getText()))
      return undefined
    const { InTypeAlias, NoTruncation, UseSingleQuotesForStringLiteralType } = NodeBuilderFlags
    const flags = InTypeAlias | NoTruncation | UseSingleQuotesForStringLiteralType
    const type = this.#checker.getDeclaredTypeOfSymbol(symbol)
    return `type ${symbol.name} = ${this.#checker.typeToString(type, node, flags)};`
  }

  /** Types of ours that a declaration names. */
  #named(node, hidden) {
    const identifiers = []
    const visit = (child) => {
      if (hidden.includes(child)) return
      const name = namedBy(child)
      if (name !== undefined) identifiers.push(name)
      child.forEachChild(visit)
    }
    visit(node)
    if (identifiers.length === 0) return []
    return this.#checker
      .getSymbolAtLocation(identifiers)
      .filter((symbol) => symbol !== undefined && (symbol.flags & SymbolFlags.TypeParameter) === 0)
      .map((symbol) => this.#target(symbol))
      .map((symbol) => ({
        key: keyOf(symbol),
        name: symbol.name,
        file: symbol.declarations[0]?.path ?? '',
      }))
      .filter(({ file }) => file.startsWith(this.#folder.toLowerCase()) || file.startsWith(this.#folder))
      .map((one) => ({ ...one, file: one.file.slice(this.#folder.length + 1).replace(/\.d\.ts$/, '.ts') }))
  }

  #target(symbol) {
    return (symbol.flags & SymbolFlags.Alias) === 0 ? symbol : this.#checker.getAliasedSymbol(symbol)
  }
}

/** Where a symbol is declared: the same for every way that leads to it. */
const keyOf = (symbol) => {
  const [first] = symbol.declarations
  return first === undefined ? symbol.name : `${first.path}:${first.index}`
}

function kindOf({ flags }) {
  if (flags & SymbolFlags.Class) return 'class'
  if (flags & SymbolFlags.Function) return 'function'
  if (flags & SymbolFlags.Interface) return 'interface'
  if (flags & SymbolFlags.TypeAlias) return 'type'
  return 'const'
}

/** A constant's declaration stands inside a statement, which carries the comment. */
function statementOf(node) {
  return node.kind === SyntaxKind.VariableDeclaration ? node.parent.parent : node
}

/** The identifier of a node that refers to a type. */
function namedBy(node) {
  switch (node.kind) {
    case SyntaxKind.TypeReference:
      return leftmost(node.typeName)
    case SyntaxKind.ExpressionWithTypeArguments:
      return node.expression
    case SyntaxKind.ImportType:
      return node.qualifier && leftmost(node.qualifier)
    default:
      return undefined
  }
}

function leftmost(name) {
  return name.kind === SyntaxKind.QualifiedName ? leftmost(name.left) : name
}

/** What users cannot reach; of a class that is exported as a type they have no constructor and no statics. */
function hiddenMembers(node, constructable) {
  const is = (member, kind) => member.modifiers?.some((modifier) => modifier.kind === kind) ?? false
  return (node.members ?? []).filter(
    (member) =>
      is(member, SyntaxKind.PrivateKeyword) ||
      member.name?.kind === SyntaxKind.PrivateIdentifier ||
      (!constructable && (member.kind === SyntaxKind.Constructor || is(member, SyntaxKind.StaticKeyword))) ||
      /@internal\b/.test(commentOf(member)),
  )
}

function commentOf(node) {
  const source = node.getSourceFile().text
  const trivia = source.slice(node.pos, node.getStart(node.getSourceFile()))
  return /\/\*\*(?:(?!\*\/)[\s\S])*\*\/(?![\s\S]*\/\*\*)/.exec(trivia)?.[0] ?? ''
}

/** The declaration as users read it: without its own comment, `export declare` and hidden members. */
function textOf(node, hidden) {
  const file = node.getSourceFile()
  const start = node.getStart(file)
  let text = ''
  let at = start
  for (const member of hidden) {
    if (member.pos < start || member.end > node.end) continue
    text += file.text.slice(at, member.pos)
    at = member.end
  }
  text += file.text.slice(at, node.end)
  return text.replace(/^export /, '').replace(/^declare /, '')
}
