import { rm } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { isTraitscopeError, TraitscopeError } from '../errors.js'
import { AppendLog } from '../formats/files/append-log.js'
import { writeFileAtomic } from '../formats/files/atomic.js'
import { sha256 } from '../formats/files/hash.js'
import { hashCheckpoint } from '../formats/run/checkpoint-folder.js'
import type { FoundWeights } from '../formats/run/find-weights.js'
import { encodeSafetensors, readSafetensors } from '../formats/safetensors/safetensors.js'
import { packageVersion } from '../package.js'
import type { CheckpointMeasurement } from './measurement.js'
import type { MeasurementPlan } from './measurement-plan.js'
import type { StopRule } from './stopping.js'

type Weights = Pick<FoundWeights, 'path'>
type Numbers = Omit<CheckpointMeasurement, 'states'>

/** A checkpoint that was measured; its states lie beside the log. */
interface MeasuredRecord {
  key: string
  statesSha256: string
  measured: Numbers
}

const LOG_FILE = 'checkpoints.jsonl'
const TENSOR = 'states'

/**
 * What a measurement of a run has done, in a folder beside its output, so that one that was cut short is gone on with: a line
 * and a file of states for each checkpoint, on the disk before the next one begins. Both are taken for the same weights under
 * the same conditions alone, and the folder goes when the output is there.
 */
export class MeasureLog implements AsyncDisposable {
  private constructor(
    readonly folder: string,
    private readonly run: string,
    private readonly plan: MeasurementPlan,
    private readonly log: AppendLog<MeasuredRecord>,
  ) {}

  /**
   * @param out the folder that the measurement is written to
   * @throws TraitscopeError FILE_ACCESS when another measurement writes it; FILE_INVALID for one that was damaged
   */
  static async open(out: string, run: string, plan: MeasurementPlan): Promise<MeasureLog> {
    const folder = `${out}.partial`
    const log = await AppendLog.open<MeasuredRecord>(join(folder, LOG_FILE), {
      key: ({ key }) => key,
      parse: (value, where) => {
        const { key, statesSha256, measured } = value as Partial<MeasuredRecord>
        if (typeof key === 'string' && typeof statesSha256 === 'string' && typeof measured === 'object')
          return { key, statesSha256, measured }
        throw new TraitscopeError(
          'FILE_INVALID',
          `expected a measured checkpoint in ${where}; remove ${folder}`,
        )
      },
    })
    return new MeasureLog(folder, run, plan, log)
  }

  /** How many checkpoints it holds, of whatever conditions. */
  get size(): number {
    return this.log.records.size
  }

  /** What was measured of these weights before; undefined when they must be measured. */
  async get({ path }: Weights, rule: StopRule | undefined): Promise<CheckpointMeasurement | undefined> {
    if (this.log.records.size === 0) return undefined
    const key = this.#key(path, await hashCheckpoint(path), rule)
    const record = this.log.records.get(key)
    if (record === undefined) return undefined
    const states = await this.#states(key, record.measured)
    if (states === undefined || hashOf(states) !== record.statesSha256) return undefined
    return { ...record.measured, states }
  }

  async put({ path }: Weights, measured: CheckpointMeasurement, rule: StopRule | undefined): Promise<void> {
    const { states, ...numbers } = measured
    const key = this.#key(path, measured.adapterSha256, rule)
    const tensor = { name: TENSOR, dtype: 'F32' as const, shape: this.#shape(numbers), data: states }
    await writeFileAtomic(this.#file(key), encodeSafetensors([tensor], {}), { force: true })
    await this.log.append({ key, statesSha256: hashOf(states), measured: numbers })
  }

  /** The output is there: nothing is left to go on with. */
  async remove(): Promise<void> {
    await this.log.close()
    await rm(this.folder, { recursive: true, force: true })
  }

  /** One that holds nothing goes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.log.close()
    if (this.log.records.size === 0) await rm(this.folder, { recursive: true, force: true })
  }

  /** Everything that can change a bit of it. */
  #key(path: string, adapterSha256: string, rule: StopRule | undefined): string {
    const { measuredUnder, mismatches, strengths, contextsSha256, pairs } = this.plan
    const { options } = this.plan.model
    return sha256(
      JSON.stringify({
        ...{
          path: relative(this.run, path),
          adapterSha256,
          measuredUnder,
          mismatches,
          strengths,
          contextsSha256,
        },
        ...(rule ? { settle: rule.sha256 } : {}),
        ...(pairs ? { pairs: pairs.identity } : {}),
        ...{ compute: options, traitscope: packageVersion },
      }),
    )
  }

  #file(key: string): string {
    return join(this.folder, `${key}.safetensors`)
  }

  /** Of the prompts that were read. */
  #shape({ settled }: Numbers): [number, number, number] {
    const [all, ...rest] = this.plan.shape
    return [settled?.prompts ?? all, ...rest]
  }

  async #states(key: string, measured: Numbers): Promise<Float32Array | undefined> {
    try {
      const file = await readSafetensors(this.#file(key))
      return file.tensors.get(TENSOR)?.shape.join() === this.#shape(measured).join()
        ? file.float32(TENSOR)
        : undefined
    } catch (error) {
      if (isTraitscopeError(error)) return undefined
      throw error
    }
  }
}

const hashOf = ({ buffer, byteOffset, byteLength }: Float32Array): string =>
  sha256(new Uint8Array(buffer, byteOffset, byteLength))
