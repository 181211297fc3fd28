import { basename } from 'node:path'
import { asTraitscopeError, TraitscopeError } from '../errors.js'
import type { SecuredEvent } from '../events/watch-events.js'
import { errnoOf } from '../formats/files/file-errors.js'
import { isTensorFile } from '../formats/peft/peft.js'
import { hashCheckpoint } from '../formats/run/checkpoint-folder.js'
import type { RunJournal } from './run-journal.js'
import { type Secured, SecuredFiles, type SecureMode } from './secured-files.js'
import type { SeenCheckpoint } from './seen-checkpoint.js'

/** Keeps the files of a run's checkpoints until they are measured, and says which it cannot keep. */
export class RunSecuring {
  readonly #files: SecuredFiles | undefined

  /** @param folder where they are kept; undefined where nothing is */
  constructor(
    folder: string | undefined,
    mode: SecureMode,
    private readonly journal: RunJournal,
  ) {
    if (folder !== undefined && mode !== 'off') this.#files = new SecuredFiles(folder, mode)
  }

  /** Removes what a killed watch has left and nobody waits for. */
  async sweep(wanted: readonly SecuredEvent[]): Promise<void> {
    await this.#files?.sweep(new Set(wanted.map(({ folder }) => folder)))
  }

  /** What an earlier watch has secured; undefined where its files are there no more. */
  async find(event: SecuredEvent): Promise<{ seen: SeenCheckpoint; secured: Secured } | undefined> {
    const { step, path, folder, how, bytes, adapterSha256, files, epoch, loss, writtenAt } = event
    const at = await this.#files?.find(event, isTensorFile(path) ? basename(path) : undefined)
    if (at === undefined) return undefined
    const seen: SeenCheckpoint = {
      ...{ step, path, folder: path, kind: 'adapter', stamp: '' },
      ...(epoch === undefined ? {} : { epoch }),
      ...(loss === undefined || loss === null ? {} : { loss }),
      ...(writtenAt === undefined ? {} : { writtenMs: Date.parse(writtenAt) }),
    }
    return { seen, secured: { folder, path: at, how, bytes, adapterSha256, files: [...files] } }
  }

  /** Undefined for what is measured from where it lies. */
  async secure(seen: SeenCheckpoint): Promise<Secured | undefined> {
    const { step, path } = seen
    const { journal } = this
    try {
      const secured = await this.#files?.secure(seen)
      journal.isOver('error secure')
      if (secured && 'folder' in secured) return secured
      const reason = secured?.reason
      if (reason !== undefined && journal.isNews('unsecured', reason))
        await journal.tell({ type: 'unsecured', step, path, reason })
    } catch (cause) {
      const error = asTraitscopeError(cause, `securing ${path}`)
      // Everything else is said when it is measured from where it lies.
      if (error.code !== 'FILE_ACCESS') return undefined
      // A full disk is the same trouble at every step.
      if (!journal.isNews('error secure', errnoOf(error.cause) ?? error.message)) return undefined
      const why = `step ${step} cannot be secured and is measured from where it lies, as those after it until this is over: ${error.message}`
      await journal.tell({ type: 'error', error: new TraitscopeError(error.code, why, { cause }) })
    }
    return undefined
  }

  async release(secured: Secured | undefined): Promise<void> {
    if (secured) await this.#files?.release(secured)
  }
}

/** Whether these weights are still where the trainer wrote them. */
export function isStillThere({ path, adapterSha256 }: Pick<SecuredEvent, 'path' | 'adapterSha256'>) {
  return hashCheckpoint(path).then(
    (sha256) => sha256 === adapterSha256,
    () => false,
  )
}
