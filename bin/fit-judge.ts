/** `label --fit-judge`: a judge of one's own, from answers with known scores. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TraitscopeError } from '../lib/errors.js'
import { checkOutputFree, publishFolder } from '../lib/formats/files/atomic.js'
import { readKnownAnswers } from '../lib/labels/answers/known-answers.js'
import { defaultLayers, fitJudge } from '../lib/labels/judges/fit-judge.js'
import { fittedJudgeJson, JUDGE_FILE } from '../lib/labels/judges/fitted-judge.js'
import { judgeFaults } from '../lib/labels/judges/judge-check.js'
import { openModel } from '../lib/model/model.js'
import { printCheck } from './check-judge.js'
import type { JudgeFlags } from './judge.js'
import type { Output } from './output.js'

export interface FitFlags extends JudgeFlags {
  fitJudge: string
  judgeLayers?: number[]
  domain?: string
  excludeDomain?: string[]
  out?: string
  force?: boolean
  json?: boolean
}

export async function fitFromFlags(flags: FitFlags, output: Output, signal: AbortSignal): Promise<void> {
  const { fitJudge: file, judgeGguf: gguf, out, judgeLayers, domain, excludeDomain } = flags
  if (gguf === undefined || out === undefined) {
    throw new TraitscopeError(
      'USAGE',
      '--fit-judge needs --judge-gguf, the model to read by, and -o, a folder for the judge',
    )
  }
  const options = { force: flags.force === true, marker: JUDGE_FILE }
  await checkOutputFree(out, options)
  const known = await readKnownAnswers(file)
  await using model = await output.during(`loading ${gguf}`, (onProgress) =>
    openModel(gguf, { layers: judgeLayers, threads: flags.threads, signal, onProgress }),
  )
  const layers = judgeLayers ?? defaultLayers(model.info.nLayer)
  output.note(
    `reading ${known.answers.length} answers of ${known.file} at ${layers.length === 1 ? 'block' : 'blocks'} ${layers.join(', ')}`,
  )
  const judge = await output.during(`fitting a judge on ${known.file}`, (onProgress) =>
    fitJudge(model, known, { layers, domain, excludeDomains: excludeDomain, signal, onProgress }),
  )
  await publishFolder(
    out,
    (folder) => writeFile(join(folder, JUDGE_FILE), `${JSON.stringify(fittedJudgeJson(judge))}\n`),
    options,
  )
  const { layer, alpha, aim, check, coherent, domains } = judge
  if (flags.json) return output.json({ out, layer, alpha, aim, domains, check, faults: judgeFaults(check) })
  printCheck(output, check)
  output.print(
    `block ${layer}, penalty ${alpha}, by ${aim === 'ranks' ? 'how answers rank' : 'which are misaligned'}; fitted on answers of ${domains.length === 0 ? 'domains that the file does not name' : domains.join(', ')}`,
  )
  if ('constant' in coherent) output.remark('too few of the answers are incoherent: this judge calls none so')
  output.print(`written to ${out}`)
}
