import { takeOptions } from '../arguments.js'
import { isTraitscopeError, TraitscopeError } from '../errors.js'
import { checkNamed } from '../formats/files/named-path.js'
import { hiddenStates } from '../hidden-states/hidden-states.js'
import {
  CONVERT_OPTIONS,
  type ConvertedMetadata,
  type ConvertOptions,
  type ConvertReport,
  convertFolder,
} from '../model/convert/convert.js'
import { openModel } from '../model/model.js'
import { openVocabulary } from '../model/vocabulary.js'
import { proveTokenizer, type TokenizerProof } from './tokenizer-proof.js'

/**
 * Converts a Hugging Face model folder (config.json, safetensors, tokenizer) to a GGUF file, tensor by tensor in little
 * memory. Matrices get one type, vectors are F32; names, reordered rows and shifted norms are those of llama.cpp's own
 * converter.
 *
 * Before the weights are written, the tokenizer's ids are compared with those of Hugging Face's JavaScript tokenizers,
 * where that optional package is installed; before the file takes its name, it is opened and a prompt is read.
 *
 * @throws TraitscopeError UNSUPPORTED by name for other architectures, tokenizers, settings that llama.cpp would drop and
 * quantised weights; USAGE for a splitting rule that llama.cpp or the tokenizer does not know; FILE_INVALID,
 * FILE_INCOMPLETE, FILE_NOT_FOUND, FILE_EXISTS, ABORTED. Nothing is left behind then.
 */
export async function convertModel(
  folder: string,
  out: string,
  options: ConvertOptions = {},
): Promise<ConvertReport> {
  const own = takeOptions('convertModel', options, CONVERT_OPTIONS)
  checkNamed(folder, 'a model folder')
  let proof: TokenizerProof = { texts: 0, ids: 0, remarks: [] }
  const report = await convertFolder(folder, out, own, {
    tokenizer: async (metadata) => {
      proof = await checkTokenizer(folder, metadata, own.pre)
      return proof.unproven
    },
    written: (path) => {
      own.onProgress?.(1)
      return readPrompt(path, own.signal).catch((cause: unknown) => {
        if (!(cause instanceof TraitscopeError) || cause.code === 'ABORTED') throw cause
        throw new TraitscopeError(cause.code, `the converted file was not kept: ${cause.message}`, { cause })
      })
    },
  })
  const { texts, ids } = proof
  return { ...report, remarks: [...report.remarks, ...proof.remarks], compared: { texts, ids } }
}

async function checkTokenizer(
  folder: string,
  metadata: ConvertedMetadata,
  pre: string | undefined,
): Promise<TokenizerProof> {
  const opened = await openVocabulary(metadata).catch((cause: unknown) => {
    if (!isTraitscopeError(cause, 'MODEL_LOAD')) throw cause
    // A rule that llama.cpp does not know would make a file that nothing can open.
    throw pre === undefined
      ? new TraitscopeError(
          'UNSUPPORTED',
          `llama.cpp cannot open the tokenizer of ${folder}: ${cause.message}`,
          {
            cause,
          },
        )
      : new TraitscopeError(
          'USAGE',
          `llama.cpp opens no tokenizer with the splitting rule ${JSON.stringify(pre)}: name one that it knows, or leave it out`,
          { cause },
        )
  })
  await using vocabulary = opened
  const stated = new Map(metadata.map(([key, , value]) => [key, value]))
  const template = stated.get('tokenizer.chat_template')
  return await proveTokenizer(folder, vocabulary, {
    architecture: String(stated.get('general.architecture')),
    template: typeof template === 'string' ? template : undefined,
  })
}

/** Opens what was written and reads a prompt through all blocks: what cannot be opened is no result. */
async function readPrompt(path: string, signal: AbortSignal | undefined): Promise<void> {
  const options = { gpuLayers: 0, batchTokens: 256, repack: false }
  await using model = await openModel(path, { ...options, ...(signal ? { signal } : {}) })
  const { longRope, longest } = model.limits
  const least = longRope?.shortContext === 0 ? longRope.original + 1 : 4
  const ids = Int32Array.from({ length: Math.min(least, longest) }, (_, i) => i % model.info.nVocab)
  await hiddenStates(model, [ids], { layers: [model.info.nLayer - 1], signal })
}
