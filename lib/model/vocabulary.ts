import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binding, fromNative, type NativeModelInfo } from '../binding.js'
import { makeScratch } from '../formats/files/scratch.js'
import { type GgufInput, readGguf } from '../formats/gguf/gguf.js'
import { writeGgufStream } from '../formats/gguf/gguf-stream.js'
import { BaseMetadata } from './base/base-metadata.js'
import { checkVocabulary } from './base/check-base.js'
import { PromptTokenizer } from './prompt-tokenizer.js'

/** The tokenizer of a GGUF without its weights. */
export interface OpenVocabulary extends AsyncDisposable {
  readonly info: NativeModelInfo
  /** As `Model.tokenize`, special tokens parsed. */
  tokenize(texts: readonly string[], addSpecial: boolean): Promise<Int32Array[]>
}

/**
 * Opens the tokenizer that a file with this metadata would have.
 *
 * @throws TraitscopeError MODEL_LOAD when llama.cpp cannot open it; FILE_INVALID, UNSUPPORTED where it would end the process
 */
export async function openVocabulary(metadata: GgufInput['metadata']): Promise<OpenVocabulary> {
  const scratch = await makeScratch(tmpdir())
  try {
    const path = join(scratch, 'vocabulary.gguf')
    await writeGgufStream(path, metadata, [])
    const gguf = await readGguf(path)
    checkVocabulary(new BaseMetadata(gguf, String(gguf.metadata.get('general.architecture'))))
    const tokenizer = new PromptTokenizer(gguf)
    const { CancelToken, Model } = binding()
    const model = new Model()
    const place = { blocks: 0, device: '', onDevice: 0, runsTo: 0, runsHead: true, repack: false }
    const load = { ...place, threads: 1, batchTokens: 256, mmap: true, f16Sums: true, vocabOnly: true }
    const info = await model.load({ path, ...load }, new CancelToken()).catch((cause) => {
      throw fromNative(cause)
    })
    return {
      info,
      tokenize: (texts, addSpecial) =>
        tokenizer.tokenize(model, info, texts, { addSpecial, parseSpecial: true }).catch((cause) => {
          throw fromNative(cause)
        }),
      [Symbol.asyncDispose]: () => model.close(),
    }
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}
