#pragma once
// Exports that need no open model: loadBackends, stopJobs, devices, precision, planMemory, selfCheck,
// systemInfo, quantize, matmulRate.

#include <napi.h>

namespace traitscope::addon {

void define_engine(Napi::Env env, Napi::Object exports);

} // namespace traitscope::addon
