#pragma once
// JS values to plain C++ values and back. Throws Napi::TypeError on a wrong type: a bug in lib/binding.ts.

#include "core/extract.h"
#include "core/job.h"
#include "core/model.h"

#include <cstdint>
#include <napi.h>
#include <string>
#include <utility>
#include <vector>

namespace traitscope::addon {

std::vector<int32_t> to_int32s(const Napi::Value & value, const char * name);
std::vector<std::string> to_strings(const Napi::Value & value, const char * name);
/// `{ adapterIds, adapterStrengths }`
std::vector<std::pair<int32_t, float>> to_adapters(const Napi::Object & value);
Napi::Int32Array from_int32s(Napi::Env env, const std::vector<int32_t> & values);

/// `{ batches, layers, nRows, adapterIds, adapterStrengths, stopEarly, groupCells, splitFrom, threads }`,
/// see NativeRequest in lib/binding.ts.
ExtractRequest to_request(const Napi::Object & value);

/// `{ path, header, parts, blocks, onDevice, runsTo, runsHead, device, repack }`, see NativePlacedModel in
/// lib/binding.ts.
ModelSource to_source(const Napi::Object & value);
Placement to_placement(const Napi::Object & value);

Napi::Object from_info(Napi::Env env, const ModelInfo & info);
Napi::Array from_memory(Napi::Env env, const std::vector<DeviceMemory> & devices);

} // namespace traitscope::addon
