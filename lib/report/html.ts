import { page } from './page.js'
import { type ReportRun, viewOfTrajectory } from './trajectory-view.js'

export type { ReportRun }

/** What stands on the page beside the runs. */
export interface ReportOptions {
  title: string
  /** Paragraphs on top. */
  summary?: readonly string[] | undefined
  /** Label and value of what a reader needs to know of the detector, e.g. its bundle. */
  detector?: readonly (readonly [label: string, value: string])[] | undefined
  /** Judged rates strictly above this are dangerous, in [0, 1]; drawn as a line. */
  cut?: number | undefined
}

/**
 * One self-contained HTML page on one or several measured runs: nothing to load, readable without scripts, for light and dark
 * screens and paper. Equal input gives equal bytes.
 */
export function htmlReport(runs: readonly ReportRun[], options: ReportOptions): string {
  return page({ ...options, runs: runs.map(viewOfTrajectory) }).html
}
