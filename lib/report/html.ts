import { checkEach, Made, Needed, type OptionKinds, takeOptions } from '../arguments.js'
import { page } from './page.js'
import { type ReportRun, viewOfTrajectory } from './trajectory-view.js'

const REPORT_RUN = new Made<ReportRun>('a run as readReportRun reads it', 'trajectory')

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

const OPTIONS: OptionKinds<ReportOptions> = {
  title: new Needed('string'),
  summary: 'strings',
  detector: 'list',
  cut: 'number',
}

/**
 * One self-contained HTML page on one or several measured runs: nothing to load, readable without scripts, for light and dark
 * screens and paper. Equal input gives equal bytes.
 */
export function htmlReport(runs: readonly ReportRun[], options: ReportOptions): string {
  checkEach('runs', runs, REPORT_RUN)
  return page({ ...takeOptions('htmlReport', options, OPTIONS), runs: runs.map(viewOfTrajectory) }).html
}
