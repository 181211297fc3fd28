import type { Bundle } from '../detector/bundle.js'
import { readBackdrop } from './backdrop.js'
import { bundleFacts } from './bundle-facts.js'
import { type Page, page } from './page.js'

/**
 * The page of a server that sends events at `events` beside it: it asks for all of them once and then for what is new, and shows
 * whatever runs come. Opened at `run/ID` it begins with that run.
 *
 * @param bundle the one that is watched with, for the background of the charts
 * @param options.labels whether the server has labels to give
 * @throws as `readBackdrop`
 */
export async function livePage(
  bundle: Bundle | undefined,
  { title = 'traitscope', labels = false }: { title?: string; labels?: boolean } = {},
): Promise<Page> {
  return page({
    title,
    runs: [],
    live: { events: 'events', cursor: '', ...(labels && { labels: 'labels' }) },
    ...(bundle && { detector: bundleFacts(bundle), backdrop: await readBackdrop(bundle) }),
  })
}
