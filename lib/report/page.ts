import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { packageRoot, packageVersion } from '../package.js'
import { escapeXml, scriptJson } from './escape.js'
import { definitions, prose } from './page-parts.js'
import { compareParts, runHeading, runParts, sectionHtml } from './run-section.js'
import type { Backdrop, RunView } from './run-view.js'
import { shortNames } from './sentences.js'

/** What a page is made of, and what its script goes on from. */
export interface PageData {
  title: string
  /** Paragraphs on top. */
  summary?: readonly string[] | undefined
  runs: readonly RunView[]
  backdrop?: Backdrop | undefined
  /** Judged rates strictly above this are dangerous, in [0, 1]; drawn as a line. Default: the backdrop's. */
  cut?: number | undefined
  /** Label and value of what a reader needs to know of the detector, e.g. its bundle. */
  detector?: readonly (readonly [label: string, value: string])[] | undefined
  /** Where new events come from; absent for a page that stays as it is. */
  live?: LiveSource | undefined
}

export interface LiveSource {
  /**
   * Address of server-sent events beside the page's own, or beside the `run/ID` that it is opened by: `data` is `{id, event}`
   * with an event of `events.jsonl` and its run's short name. The page adds `?after=` with `id:seq` of the last event of every run,
   * joined by commas, `cursor` before the first; events that it has already change nothing.
   */
  events: string
  /** Where `runs` end. */
  cursor: string
  /** Address of labels beside `events`, to which the page adds `?run=` with a run's short name; absent where there are none. */
  labels?: string | undefined
}

/** One file without requests to anywhere, and the Content-Security-Policy that it can be sent with. */
export interface Page {
  html: string
  policy: string
}

/**
 * The page on one run or several: readable without scripts, and with them charts, links to every checkpoint and, where it is
 * `live`, what comes. Equal input gives equal bytes.
 *
 * @throws BINDING when the package was not built
 */
export function page(data: PageData): Page {
  const [script, style] = [asset('page.js'), asset('page.css')]
  const policy = [
    "default-src 'none'",
    `script-src '${hash(script)}'`,
    `style-src '${hash(style)}'`,
    `connect-src ${data.live ? "'self'" : "'none'"}`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ')
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${escapeXml(data.title)}</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<header>
<h1>${escapeXml(data.title)}</h1>
<p id="status" role="status"></p>
</header>
<nav id="runs" aria-label="Runs"></nav>
<main id="page">
${body(data)}
</main>
<footer>
<details><summary>What this can and cannot tell</summary>
<ul>
${LIMITS.map((text) => `<li>${prose(text)}</li>`).join('\n')}
</ul>
</details>
${data.detector?.length ? `<details><summary>The detector</summary>${definitions(data.detector)}</details>` : ''}
<p>traitscope ${escapeXml(packageVersion)}<span id="keys"></span></p>
</footer>
<script type="application/json" id="data">${scriptJson(data)}</script>
<script>${script}</script>
</body>
</html>
`
  return { html, policy: `${policy}; frame-ancestors 'none'` }
}

/** Everything that can be said without charts, for readers without scripts. */
function body({ runs, summary = [], backdrop, cut = backdrop?.cut, live }: PageData): string {
  if (live)
    return '<noscript><p>This page needs scripts; `traitscope report` writes one that can be read without.</p></noscript>'
  const names = shortNames(runs.map(({ run }) => run))
  return [
    ...summary.map((text) => `<p>${prose(text)}</p>`),
    ...(runs.length > 1 ? [sectionHtml(compareParts(runs, names, { backdrop }))] : []),
    ...runs.map(
      (view, i) =>
        `<section>${runHeading(names[i]!)}${sectionHtml(runParts(view, names[i]!, { backdrop, cut, limit: ROWS, scripted: false }))}</section>`,
    ),
  ].join('\n')
}

/** Of a table that is read without scripts. */
const ROWS = 500

const LIMITS = [
  'A drift is how far the mean hidden state at one layer has moved along a trait direction, in units of its length ' +
    'before fine-tuning. It is a correlate of behaviour, not behaviour.',
  'EM is the share of answers that a judge calls misaligned. The predicted rate comes from a detector calibrated on ' +
    'other fine-tuning runs of the same base model; its interval held for those runs at the stated coverage and is no ' +
    'promise for data unlike theirs.',
  '"ok" means that nothing was seen in these traits at this layer. It is no clearance to release a model: ask the model ' +
    'questions and judge its answers.',
  'Numbers compare only between runs of the same base file, prompts, template and layer.',
]

const assets = new Map<string, string>()

/** What scripts/build-ts.mjs has made of page/. */
function asset(name: string): string {
  const path = join(packageRoot, 'dist', 'page', name)
  try {
    const text = assets.get(name) ?? readFileSync(path, 'utf8')
    assets.set(name, text)
    return text
  } catch (cause) {
    throw new TraitscopeError('BINDING', `expected ${path}, found none: run \`npm run build:ts\``, { cause })
  }
}

const hash = (text: string) => `sha256-${createHash('sha256').update(text).digest('base64')}`
